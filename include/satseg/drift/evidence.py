"""The stage `drift evidence`: why a model was trained again and what that changed, kept with its run for the card."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from satseg.datasets.catalog import content_of, find_tag, read_items
from satseg.datasets.repository import GitRepository
from satseg.drift.nights import PAGE_FILE, REPORT_FILE, read_report
from satseg.errors import NotFoundError
from satseg.evaluation.report import ALL_SIZES, read_blocks
from satseg.stages import BeforeAfter, DriftResult, EvidenceResult, EvidenceSpec
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace
from satseg.tracking.models import resolve_model
from satseg.tracking.runs import get_run, log_to_run

if TYPE_CHECKING:
    import pandas as pd

NIGHT_TAG = "satseg.drift_night"
REASON_TAG = "satseg.retrained_because"
OUTCOME_TAG = "satseg.retrained_outcome"
BY_HAND = "a person asked for it"
MOST_FEATURES = 5


def run(spec: EvidenceSpec, workspace: Workspace) -> EvidenceResult:
    """Tag the run with reason and outcome and log the night's report with it; saying it twice changes nothing.

    Raises:
        NotFoundError: no such run, an untested night, or a model that was not measured on the patch set.
    """
    project = spec.project.name
    ref, champion = (resolve_model(workspace, project, name) for name in (spec.run, spec.champion))
    report = read_report(workspace, project, spec.night) if spec.night else None
    reason = reason_of(report) if report else BY_HAND
    known = learned_scenes(workspace, project, champion.run_id, ref.run_id)
    blocks = {
        name: read_blocks(workspace, project, one.run_id, spec.patch_set)
        for name, one in (("champion", champion), ("retrained", ref))
    }
    old, new = (
        before_after({name: table[table["scene"].isin(known) == learned] for name, table in blocks.items()})
        for learned in (True, False)
    )
    outcome = f"IoU on old scenes {_change(old)}, on new scenes {_change(new)}"
    result = EvidenceResult(
        message=f"Trained again because {reason}. {outcome}.",
        run_id=ref.run_id,
        night=spec.night,
        reason=reason,
        old=old,
        new=new,
    )
    _log(workspace, project, result, outcome)
    return result


def reason_of(report: DriftResult) -> str:
    """Say in one line what drifted in a night."""
    moved = sorted((one for one in report.features if one.drifted), key=lambda one: -one.distance)
    features = ", ".join(
        f"{one.feature} ({one.change or f'distance {one.distance:.2f}'})" for one in moved[:MOST_FEATURES]
    )
    kinds = f" ({', '.join(report.kinds)})" if report.kinds else ""
    chance = f", adjusted p {report.p_value:.3g}" if report.p_value is not None else ""
    severity = f"{report.severity} " if report.severity else ""
    return (
        f"{severity}drift{kinds} was confirmed on night {report.night} against {report.champion}{chance}"
        f"{f': {features}' if features else ''}"
    )


def learned_scenes(workspace: Workspace, project: str, champion_run: str, run: str) -> set[str]:
    """Return the scenes of a run's dataset version that the champion has learned from as they are there.

    Raises:
        NotFoundError: a run does not say its dataset version.
    """
    repository = GitRepository(workspace.data)
    versions = []
    for run_id in (champion_run, run):
        version = get_run(workspace, run_id).tags.get("satseg.dataset_version")
        if not version:
            raise NotFoundError(f"Run {run_id} does not say which dataset version it learned from.")
        versions.append(read_items(repository, project, find_tag(repository, project, version).commit))
    known = {content_of(item) for item in versions[0].values()}
    return {scene for scene, item in versions[1].items() if content_of(item) in known}


def before_after(blocks: dict[str, "pd.DataFrame"]) -> BeforeAfter:
    """Return the IoU of both models over the same blocks, the mean over the classes that are labelled there."""
    return BeforeAfter(
        champion=mean_iou(blocks["champion"]),
        retrained=mean_iou(blocks["retrained"]),
        blocks=int(blocks["retrained"]["block"].nunique()),
    )


def mean_iou(blocks: "pd.DataFrame") -> float | None:
    """Return the IoU of summed pixels, the mean over classes; None where none is labelled or predicted."""
    counts = blocks[blocks["size_bin"] == ALL_SIZES].groupby("class_id")[["tp", "fp", "fn"]].sum()
    union = counts.sum(axis=1)
    values = (counts["tp"] / union)[union > 0]
    return float(values.mean()) if len(values) else None


def _change(pair: BeforeAfter) -> str:
    if pair.champion is None or pair.retrained is None:
        return "not measured (no test blocks)"
    return f"{pair.champion:.3f} → {pair.retrained:.3f} ({pair.blocks} blocks)"


def _log(workspace: Workspace, project: str, result: EvidenceResult, outcome: str) -> None:
    tags = {REASON_TAG: result.reason, OUTCOME_TAG: outcome}
    metrics = {
        f"retraining/{scenes}_{model}": value
        for scenes in ("old", "new")
        for model in ("champion", "retrained")
        if (value := getattr(getattr(result, scenes), model)) is not None
    }
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "retraining.json"
        write_json(summary, result.model_dump(mode="json"))
        files = {summary: "drift"}
        if result.night:
            tags[NIGHT_TAG] = result.night
            night = workspace.drift_night(project, result.night)
            files |= {path: "drift" for name in (REPORT_FILE, PAGE_FILE) if (path := night / name).is_file()}
        log_to_run(workspace, result.run_id, metrics=metrics, tags=tags, files=files)
