"""Reading the registry: which versions there are, what is known of one, and how two differ."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from satseg.errors import NotFoundError
from satseg.evaluation.report import read_blocks, stored_reports
from satseg.registry.audit import CHAMPION_MAKING, AuditEntry, entries
from satseg.registry.card import TEST_IOU_TAG
from satseg.registry.comparison import comparisons
from satseg.registry.stage_words import CHAMPION, PREVIOUS, STAGE_TAG
from satseg.registry.swap import DECISION_TAG, REASON_TAG, settle
from satseg.stages import EvaluateResult
from satseg.storage.layout import Workspace
from satseg.tracking.models import VersionRecord, alias_version, resolve_model, versions
from satseg.tracking.runs import RunRecord, get_run

OWN_NAMES = ("satseg.model_uri", "satseg.run_key")  # different for any two models, so they tell nothing


class ModelRow(BaseModel):
    """One version in a list."""

    model_config = ConfigDict(frozen=True)

    version: str
    aliases: list[str]
    stage: str
    run_id: str
    created_at: datetime
    dataset_version: str | None
    patch_set: str | None
    test_iou: float | None
    decision: str | None
    reason: str | None


class ModelDetail(ModelRow):
    """All that is known of one version."""

    description: str
    champion_since: datetime | None
    champion_because: str | None
    goes_back_to: str | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    reports: dict[str, EvaluateResult]
    history: list[AuditEntry]


class Difference(BaseModel):
    """Something in which two versions differ; None is "not recorded"."""

    model_config = ConfigDict(frozen=True)

    what: str
    first: str | None
    second: str | None


class ScorePair(BaseModel):
    """The same score of two versions on the same blocks; the interval is that of second minus first."""

    model_config = ConfigDict(frozen=True)

    where: str
    score: str
    first: float
    second: float
    low: float | None = None
    high: float | None = None
    blocks: int | None = None


class Comparison(BaseModel):
    """Two versions side by side."""

    model_config = ConfigDict(frozen=True)

    first: ModelRow
    second: ModelRow
    differences: list[Difference]
    patch_set: str | None
    scores: list[ScorePair]


def _row(record: VersionRecord) -> ModelRow:
    iou = record.tags.get(TEST_IOU_TAG)
    return ModelRow(
        version=record.version,
        aliases=list(record.aliases),
        stage=record.tags.get(STAGE_TAG, "None"),
        run_id=record.run_id,
        created_at=record.created_at,
        dataset_version=record.tags.get("satseg.dataset_version"),
        patch_set=record.tags.get("satseg.patch_set"),
        test_iou=float(iou) if iou else None,
        decision=record.tags.get(DECISION_TAG),
        reason=record.tags.get(REASON_TAG) or None,
    )


def list_models(workspace: Workspace, project_name: str) -> list[ModelRow]:
    """Return all versions of the project's registered model, newest first."""
    settle(workspace, project_name)
    return [_row(record) for record in reversed(versions(workspace, project_name))]


def show_model(workspace: Workspace, project_name: str, reference: str) -> ModelDetail:
    """Return one version by number or alias.

    Raises:
        NotFoundError: no such version; the message lists those there are.
    """
    settle(workspace, project_name)
    record = _record(workspace, project_name, reference)
    run = get_run(workspace, record.run_id)
    log = entries(workspace.audit_log(project_name))
    made = _made_champion(log, record) if CHAMPION in record.aliases else None
    return ModelDetail(
        **_row(record).model_dump(),
        description=record.description,
        champion_since=made.time if made else None,
        champion_because=_because(made) if made else None,
        goes_back_to=alias_version(workspace, project_name, PREVIOUS) if made else None,
        params=dict(sorted(run.params.items())),
        metrics=dict(sorted(run.metrics.items())),
        tags={name: value for name, value in sorted({**run.tags, **record.tags}.items()) if "mlflow." not in name},
        reports=_reports(workspace, project_name, record.run_id),
        history=[entry for entry in log if record.version in (entry.to_version, entry.from_version)],
    )


def _made_champion(log: list[AuditEntry], record: VersionRecord) -> AuditEntry | None:
    made = [entry for entry in log if entry.action in CHAMPION_MAKING and entry.to_version == record.version]
    return made[-1] if made else None


def _because(made: AuditEntry) -> str:
    how = "rollback" if made.action == "rolled_back" else f"promotion through {len(made.gates)} gates"
    open_ones = made.evidence.get("not_enough_evidence")
    return (
        f"{how} by {made.who}"
        + (f": {made.reason}" if made.reason else "")
        + (f" (not enough evidence for {', '.join(open_ones)})" if open_ones else "")
    )


def compare_models(workspace: Workspace, project_name: str, first: str, second: str) -> Comparison:
    """Return what differs between two versions, with the scores both have on the same patch set.

    Of several patch sets both were measured on, the one the second was trained on counts, else the latest measured.

    Raises:
        NotFoundError: no such version.
    """
    records = [_record(workspace, project_name, reference) for reference in (first, second)]
    runs = [get_run(workspace, record.run_id) for record in records]
    facts = [_facts(run) for run in runs]
    names = sorted({*facts[0], *facts[1]})
    ours, theirs = (_reports(workspace, project_name, record.run_id) for record in records)
    shared = [name for name in theirs if name in ours]
    own = runs[1].tags.get("satseg.patch_set")
    patch_set = own if own in shared else (shared[-1] if shared else None)
    return Comparison(
        first=_row(records[0]),
        second=_row(records[1]),
        differences=[
            Difference(what=name, first=facts[0].get(name), second=facts[1].get(name))
            for name in names
            if facts[0].get(name) != facts[1].get(name)
        ],
        patch_set=patch_set,
        scores=_pairs(workspace, project_name, ours[patch_set], theirs[patch_set]) if patch_set else [],
    )


def _facts(run: RunRecord) -> dict[str, str]:
    params = {f"param {name}": value for name, value in run.params.items()}
    tags = {name: value for name, value in run.tags.items() if name.startswith("satseg.") and name not in OWN_NAMES}
    return params | tags


def _record(workspace: Workspace, project_name: str, reference: str) -> VersionRecord:
    ref = resolve_model(workspace, project_name, reference)
    for record in versions(workspace, project_name):
        if record.version == ref.version:
            return record
    raise NotFoundError(
        f"Run {ref.run_id} is not a registered version of '{project_name}'. Register it: satseg register {ref.run_id}"
    )


def _reports(workspace: Workspace, project_name: str, run_id: str) -> dict[str, EvaluateResult]:
    reports = stored_reports(workspace, project_name, run_id)
    by_time = sorted(reports.items(), key=lambda pair: pair[1].evaluated_at)
    return {patch_set: report.result for patch_set, report in by_time}


def _pairs(workspace: Workspace, project_name: str, first: EvaluateResult, second: EvaluateResult) -> list[ScorePair]:
    pairs = [
        ScorePair(where="test", score=score, first=getattr(first, score), second=getattr(second, score))
        for score in ("iou", "dice", "precision", "recall")
    ]
    parts = [("new blocks", first.new, second.new)]
    pairs += [
        ScorePair(where=where, score="iou", first=a.iou, second=b.iou)
        for where, a, b in parts
        if a and b and a.iou is not None and b.iou is not None
    ]
    return pairs + _with_intervals(workspace, project_name, first, second)


def _with_intervals(
    workspace: Workspace, project_name: str, first: EvaluateResult, second: EvaluateResult
) -> list[ScorePair]:
    """Return the paired differences on the blocks both have: the whole that a promotion compares, and every slice."""
    before, after = (
        read_blocks(workspace, project_name, result.run_id, result.patch_set) for result in (first, second)
    )
    pairs = []
    for one in comparisons(after, before, list(second.per_class), ("scene", "class", "size")):
        difference, (new, old) = one.difference(), one.scores()
        if difference.value is None:
            continue
        where = f"{one.kind} {one.part}" if one.part else "reference blocks"
        pairs.append(
            ScorePair(
                where=where,
                score=one.score.lower(),
                first=old,
                second=new,
                low=difference.low,
                high=difference.high,
                blocks=difference.blocks,
            )
        )
    return pairs
