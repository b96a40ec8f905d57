"""Decide whether a version becomes champion, and make it so; a deliberate act behind gates, with a record."""

from dataclasses import dataclass

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.evaluation import evaluate
from satseg.patches.patchset import open_patch_set
from satseg.registry import gates as rules
from satseg.registry.audit import AuditEntry, actor, append
from satseg.registry.card import TEST_IOU_TAG
from satseg.registry.smoke import loads_and_predicts
from satseg.registry.stage_words import CHALLENGER, CHAMPION
from satseg.registry.swap import record_decision, registry_lock, swap_champion
from satseg.stages import EvaluateResult, EvaluateSpec, Gate, PromoteSpec, RegistryResult
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, alias_version, resolve_model, set_version_tags


@dataclass(frozen=True)
class Verdict:
    """The gates of a version against a champion (None when there was none), and the scores they rest on."""

    champion: str | None
    gates: list[Gate]
    result: EvaluateResult | None

    @property
    def passed(self) -> bool:
        """Whether every gate is open."""
        return all(gate.passed for gate in self.gates)


def run(spec: PromoteSpec, workspace: Workspace) -> RegistryResult:
    """Measure a version and the champion on the same blocks, apply the gates, and move the alias when all pass.

    Measuring happens before the registry is locked, deciding inside: two promotions at once are decided one after
    the other, each against the champion of that moment.

    Raises:
        NotFoundError: no such version, or its patch set is gone.
        ConfigurationError: the project wants a person's approval and nobody is named.
    """
    project = spec.project
    with registry_lock(workspace, project.name) as finished:
        if finished is not None and finished.action == "promoted" and _is_about(spec, workspace, finished):
            return _promoted(project.name, finished)
    ref = _version(spec, workspace)
    if ref.version == alias_version(workspace, project.name, CHAMPION):
        return _unchanged(project.name, ref)
    if project.promotion.approval == "manual" and not spec.check and not spec.approved_by:
        raise ConfigurationError(
            f"Project '{project.name}' wants a person's approval (promotion.approval: manual): add --approved-by NAME, "
            "or look at the gates alone with --check."
        )
    verdict = judge(workspace, project, ref)
    with registry_lock(workspace, project.name):
        champion = alias_version(workspace, project.name, CHAMPION)
        if champion == ref.version:
            return _unchanged(project.name, ref)
        if champion != verdict.champion:  # somebody else was promoted meanwhile: the comparison is void
            verdict = judge(workspace, project, ref)
        return _decide(spec, workspace, ref, verdict)


def judge(workspace: Workspace, project: ProjectConfig, ref: ModelRef) -> Verdict:
    """Apply every gate to a version; scores that are stored are not computed again."""
    champion = alias_version(workspace, project.name, CHAMPION)
    smoke = loads_and_predicts(workspace, ref)
    if not smoke.passed:
        return Verdict(champion, [smoke], None)
    try:
        result = evaluate.run(EvaluateSpec(project=project, model=ref.run_id), workspace)
    except BadDataError as error:
        return Verdict(champion, [smoke, rules.cannot_be_measured(str(error))], None)
    gates = [smoke, *rules.score_gates(result, project.promotion)]
    if champion is not None:
        gates.append(_against_champion(workspace, project, result, champion))
    return Verdict(champion, gates, result)


def _against_champion(workspace: Workspace, project: ProjectConfig, result: EvaluateResult, champion: str) -> Gate:
    ref = resolve_model(workspace, project.name, champion)
    patch_set = open_patch_set(workspace, project.name, result.patch_set)
    try:
        misfit = evaluate.misfit(evaluate.read_description(workspace, ref), patch_set)
        if misfit is not None:
            return rules.champion_does_not_fit(champion, misfit)
        spec = EvaluateSpec(project=project, model=ref.run_id, patch_set=result.patch_set)
        theirs = evaluate.run(spec, workspace)
    except BadDataError as error:
        raise BadDataError(
            f"Champion v{champion} of '{project.name}' cannot be measured, so nothing can be compared with it: {error} "
            "Restore its files, or roll back first."
        ) from error
    return rules.not_worse(result, theirs, champion, project.promotion.max_iou_loss)


def _decide(spec: PromoteSpec, workspace: Workspace, ref: ModelRef, verdict: Verdict) -> RegistryResult:
    name, version = spec.project.name, str(ref.version)
    if verdict.result is not None:
        set_version_tags(workspace, name, version, {TEST_IOU_TAG: f"{verdict.result.iou:.4f}"})
    if spec.check and verdict.passed:
        return RegistryResult(
            message=f"v{version} of '{name}' passes all {len(verdict.gates)} gates; nothing was changed (--check).",
            version=version,
            alias=ref.aliases[0] if ref.aliases else None,
            decision="promotable",
            previous=verdict.champion,
            gates=verdict.gates,
        )
    refused = rules.failures(verdict.gates)
    entry = AuditEntry(
        who=actor(spec.approved_by),
        action="promoted" if verdict.passed else "refused",
        from_version=verdict.champion,
        to_version=version,
        gates=verdict.gates,
        reason="; ".join(text for text in (spec.reason, refused) if text),
        evidence=_evidence(ref, verdict),
    )
    if verdict.passed:
        swap_champion(workspace, name, entry, previous=verdict.champion)
        return _promoted(name, entry)
    append(workspace.audit_log(name), entry)
    record_decision(workspace, name, version, "refused", refused)
    return RegistryResult(
        message=f"v{version} of '{name}' is refused. {refused}.",
        version=version,
        alias=ref.aliases[0] if ref.aliases else None,
        decision="refused",
        previous=verdict.champion,
        gates=verdict.gates,
    )


def _evidence(ref: ModelRef, verdict: Verdict) -> dict[str, str | float]:
    if verdict.result is None:
        return {"run_id": ref.run_id}
    return {"run_id": ref.run_id, "patch_set": verdict.result.patch_set, "test_iou": verdict.result.iou}


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


def _promoted(project_name: str, entry: AuditEntry) -> RegistryResult:
    instead = f" instead of v{entry.from_version}" if entry.from_version else ""
    return RegistryResult(
        message=f"v{entry.to_version} of '{project_name}' is champion{instead}.",
        version=entry.to_version,
        alias=CHAMPION,
        decision="promoted",
        previous=entry.from_version,
        gates=entry.gates,
    )


def _unchanged(project_name: str, ref: ModelRef) -> RegistryResult:
    return RegistryResult(
        message=f"v{ref.version} of '{project_name}' is champion already.",
        version=str(ref.version),
        alias=CHAMPION,
        decision="unchanged",
        previous=ref.version,
    )
