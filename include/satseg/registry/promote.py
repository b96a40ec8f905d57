"""Decide whether a version becomes champion, and make it so; a deliberate act behind gates, with a record."""

from typing import Any

from satseg.errors import ConfigurationError, NotFoundError
from satseg.registry import gates as rules
from satseg.registry.audit import AuditEntry, actor, append
from satseg.registry.card import TEST_IOU_TAG, refresh_card
from satseg.registry.judge import Judgement, judge
from satseg.registry.links import evidence_links
from satseg.registry.stage_words import CHALLENGER, CHAMPION
from satseg.registry.swap import record_decision, registry_lock, swap_champion
from satseg.stages import PromoteSpec, RegistryResult
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, alias_version, resolve_model, set_version_tags

NOBODY_ASKED = "Not enough evidence for {gates}; nobody is asked (promotion.approval: auto), so {how}."
BY_MEASURE = "the measured difference over the whole decides, and slices do not count"
_NAMED = 3


def run(spec: PromoteSpec, workspace: Workspace) -> RegistryResult:
    """Measure a version and the champion on the same blocks, apply the gates, and move the alias when they say so.

    Measuring happens before the registry is locked, deciding inside. When another version became champion in between,
    the comparison is void and this one is refused: of two promotions at once, one wins.

    Raises:
        NotFoundError: no such version, or its patch set is gone.
        ConfigurationError: the project wants a person's approval and nobody is named, or a person says yes and no.
    """
    project = spec.project
    if spec.approved_by and spec.rejected_by:
        raise ConfigurationError("Give either --approved-by or --rejected-by, not both.")
    with registry_lock(workspace, project.name) as finished:
        if finished is not None and finished.action == "promoted" and _is_about(spec, workspace, finished):
            return _promoted(workspace, project.name, finished)
    ref = _version(spec, workspace)
    if ref.version == alias_version(workspace, project.name, CHAMPION):
        return _unchanged(project.name, ref)
    if project.promotion.approval == "manual" and not (spec.check or spec.approved_by or spec.rejected_by):
        raise ConfigurationError(
            f"Project '{project.name}' wants a person's approval (promotion.approval: manual): add --approved-by NAME, "
            "or look at the gates alone with --check."
        )
    judgement = judge(workspace, project, ref)
    with registry_lock(workspace, project.name):
        champion = alias_version(workspace, project.name, CHAMPION)
        if champion == ref.version:
            return _unchanged(project.name, ref)
        if judgement.result is not None:
            tags = {TEST_IOU_TAG: f"{judgement.result.iou:.4f}"}
            set_version_tags(workspace, project.name, str(ref.version), tags)
            refresh_card(workspace, project, ref, judgement.result)
        if champion != judgement.champion:
            return _refused(spec, workspace, ref, judgement, _overtaken(ref, champion, judgement.champion))
        return _decide(spec, workspace, ref, judgement)


def _overtaken(ref: ModelRef, champion: str | None, judged_against: str | None) -> str:
    now = f"v{champion} became champion" if champion else "the champion was taken away"
    against = f"v{judged_against}" if judged_against else "no champion"
    return (
        f"{now} while v{ref.version} was judged against {against}; promote v{ref.version} again to compare it with "
        f"{f'v{champion}' if champion else 'nothing'}"
    )


def _decide(spec: PromoteSpec, workspace: Workspace, ref: ModelRef, judgement: Judgement) -> RegistryResult:
    approval = spec.project.promotion.approval
    verdict = judgement.says(approval)
    if spec.rejected_by:
        return _refused(spec, workspace, ref, judgement, f"rejected by {spec.rejected_by}")
    if verdict == "no":
        return _refused(spec, workspace, ref, judgement, rules.failures(judgement.gates))
    if spec.check or (verdict == "ask" and not spec.approved_by):
        return _asked(spec, workspace, ref, judgement)
    entry = _entry(spec, ref, judgement, "promoted", _joined(_grounds(judgement, approval), spec.reason))
    swap_champion(workspace, spec.project.name, entry, previous=judgement.champion)
    done = _promoted(workspace, spec.project.name, entry)
    return done.model_copy(update={"warnings": _warnings(judgement, approval)})


def _asked(spec: PromoteSpec, workspace: Workspace, ref: ModelRef, judgement: Judgement) -> RegistryResult:
    """Say what the gates say, nothing being changed."""
    name, approval, open_ones = spec.project.name, spec.project.promotion.approval, rules.undecided(judgement.gates)
    asks = judgement.says(approval) == "ask"
    decided = len(judgement.gates) - len(open_ones)
    words = f"v{ref.version} of '{name}' passes {f'all {decided}' if not open_ones else decided} gates"
    if open_ones:
        words += f"; there is not enough evidence for {_some(open_ones)}"
    if spec.check:
        words += "; nothing was changed (--check)"
    elif asks:
        words += f". A person has to decide: satseg promote {ref.version} -p {name} --approved-by NAME"
    return RegistryResult(
        message=f"{words}.",
        warnings=_warnings(judgement, approval),
        version=str(ref.version),
        alias=ref.aliases[0] if ref.aliases else None,
        decision="promotable" if spec.check else "undecided",
        previous=judgement.champion,
        gates=judgement.gates,
        undecided=open_ones if asks else [],
        links=evidence_links(workspace, name, ref, judgement.patch_set),
    )


def _warnings(judgement: Judgement, approval: str) -> list[str]:
    open_ones = rules.undecided(judgement.gates)
    if approval != "auto" or not open_ones:
        return []
    return [NOBODY_ASKED.format(gates=_some(open_ones), how=BY_MEASURE)]


def _refused(spec: PromoteSpec, workspace: Workspace, ref: ModelRef, judgement: Judgement, why: str) -> RegistryResult:
    name, version = spec.project.name, str(ref.version)
    entry = _entry(spec, ref, judgement, "refused", _joined(why, spec.reason))
    append(workspace.audit_log(name), entry)
    record_decision(workspace, name, version, entry)
    return RegistryResult(
        message=f"v{version} of '{name}' is refused: {why}.",
        version=version,
        alias=ref.aliases[0] if ref.aliases else None,
        decision="refused",
        previous=judgement.champion,
        gates=judgement.gates,
        links=evidence_links(workspace, name, ref, judgement.patch_set),
    )


def _grounds(judgement: Judgement, approval: str) -> str:
    """Return on what a promotion rests, so that the audit log answers "why" also where nobody gave a reason."""
    open_ones = rules.undecided(judgement.gates)
    passed = len(judgement.gates) - len(open_ones)
    if not open_ones:
        return f"all {passed} gates passed"
    how = BY_MEASURE if approval == "auto" else "a person decided"
    return f"{passed} gates passed; not enough evidence for {_some(open_ones)}: {how}"


def _some(names: list[str]) -> str:
    """Return the first few; a promotion of ten scenes has two dozen gates, and all of them stand in the entry."""
    more = len(names) - _NAMED
    return ", ".join(names) if more < 2 else f"{', '.join(names[:_NAMED])} and {more} more"


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _entry(spec: PromoteSpec, ref: ModelRef, judgement: Judgement, action: Any, reason: str) -> AuditEntry:
    evidence: dict[str, Any] = {"run_id": ref.run_id}
    if judgement.result is not None:
        evidence |= {"patch_set": judgement.result.patch_set, "test_iou": judgement.result.iou}
    if open_ones := rules.undecided(judgement.gates):
        by = spec.approved_by if spec.project.promotion.approval != "auto" else BY_MEASURE
        evidence |= {"not_enough_evidence": open_ones, "decided_by": by}
    return AuditEntry(
        who=actor(spec.rejected_by or spec.approved_by),
        action=action,
        from_version=judgement.champion,
        to_version=str(ref.version),
        gates=judgement.gates,
        reason=reason,
        evidence=evidence,
    )


def _version(spec: PromoteSpec, workspace: Workspace) -> ModelRef:
    ref = resolve_model(workspace, spec.project.name, spec.version)
    if ref.version is None:
        raise NotFoundError(
            f"Run {ref.run_id} is not a registered version of '{spec.project.name}'. "
            f"Register it first: satseg register {ref.run_id}"
        )
    return ref


def _is_about(spec: PromoteSpec, workspace: Workspace, finished: AuditEntry) -> bool:
    if spec.version == CHALLENGER and alias_version(workspace, spec.project.name, CHALLENGER) is None:
        return True  # the killed process had taken the alias away already
    return _version(spec, workspace).version == finished.to_version


def _promoted(workspace: Workspace, project_name: str, entry: AuditEntry) -> RegistryResult:
    ref = ModelRef(entry.evidence["run_id"], entry.to_version, (CHAMPION,))
    instead = f" instead of v{entry.from_version}" if entry.from_version else ""
    return RegistryResult(
        message=f"v{entry.to_version} of '{project_name}' is champion{instead}.",
        version=entry.to_version,
        alias=CHAMPION,
        decision="promoted",
        previous=entry.from_version,
        gates=entry.gates,
        links=evidence_links(workspace, project_name, ref, entry.evidence.get("patch_set")),
    )


def _unchanged(project_name: str, ref: ModelRef) -> RegistryResult:
    return RegistryResult(
        message=f"v{ref.version} of '{project_name}' is champion already.",
        version=str(ref.version),
        alias=CHAMPION,
        decision="unchanged",
        previous=ref.version,
    )
