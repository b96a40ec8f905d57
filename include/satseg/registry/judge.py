"""Every gate of a version against today's champion, and what follows from them under the project's rules."""

from dataclasses import dataclass
from typing import Literal

from satseg.config.operation import PromotionConfig
from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError
from satseg.evaluation import evaluate
from satseg.evaluation.report import read_blocks
from satseg.patches.patchset import open_patch_set
from satseg.registry import gates as rules
from satseg.registry.comparison import compared, comparisons
from satseg.registry.packaged import packaged_gates
from satseg.registry.provenance import provenance
from satseg.registry.stage_words import CHAMPION
from satseg.stages import EvaluateResult, EvaluateSpec, Gate
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, alias_version, resolve_model
from satseg.tracking.runs import get_run


@dataclass(frozen=True)
class Judgement:
    """The gates of a version against a champion (None when there was none), and the scores they rest on."""

    champion: str | None
    gates: list[Gate]
    result: EvaluateResult | None

    @property
    def patch_set(self) -> str | None:
        """The patch set it was measured on."""
        return self.result.patch_set if self.result else None

    def says(self, approval: str) -> Literal["yes", "no", "ask"]:
        """Return what the gates say where the project's `promotion.approval` is this.

        A gate that failed means no, everywhere. One without enough evidence is a person's to decide; where nobody
        shall be asked it counts as what it was taken for.
        """
        if any(not gate.passed and not gate.undecided for gate in self.gates):
            return "no"
        if approval == "auto":
            return "yes" if all(gate.passed for gate in self.gates) else "no"
        return "ask" if rules.undecided(self.gates) else "yes"


def judge(workspace: Workspace, project: ProjectConfig, ref: ModelRef) -> Judgement:
    """Apply every gate to a version; scores that are stored are not computed again."""
    champion = alias_version(workspace, project.name, CHAMPION)
    gates = packaged_gates(workspace, project.name, ref, project.promotion)
    if not gates[0].passed:
        return Judgement(champion, gates, None)
    gates.append(provenance(workspace, project.name, get_run(workspace, ref.run_id), project.promotion))
    try:
        result = evaluate.run(EvaluateSpec(project=project, model=ref.run_id), workspace)
    except BadDataError as error:
        return Judgement(champion, [*gates, rules.cannot_be_measured(str(error))], None)
    gates += rules.score_gates(result, project.promotion)
    if champion is not None:
        gates += _against_champion(workspace, project, result, champion)
    return Judgement(champion, gates, result)


def _against_champion(
    workspace: Workspace, project: ProjectConfig, result: EvaluateResult, champion: str
) -> list[Gate]:
    ref = resolve_model(workspace, project.name, champion)
    patch_set = open_patch_set(workspace, project.name, result.patch_set)
    try:
        misfit = evaluate.misfit(evaluate.read_description(workspace, ref), patch_set)
        if misfit is not None:
            return [rules.champion_does_not_fit(champion, misfit)]
        spec = EvaluateSpec(project=project, model=ref.run_id, patch_set=result.patch_set)
        theirs = evaluate.run(spec, workspace)
    except BadDataError as error:
        raise BadDataError(
            f"Champion v{champion} of '{project.name}' cannot be measured, so nothing can be compared with it: {error} "
            "Restore its files, or roll back first."
        ) from error
    return _gates(workspace, project.name, project.promotion, result, theirs, champion, patch_set.classes)


def _gates(  # noqa: PLR0917 - two measurements and where they are
    workspace: Workspace,
    project_name: str,
    promotion: PromotionConfig,
    ours: EvaluateResult,
    theirs: EvaluateResult,
    champion: str,
    classes: tuple[str, ...],
) -> list[Gate]:
    of_ours, of_theirs = (
        read_blocks(workspace, project_name, result.run_id, ours.patch_set) for result in (ours, theirs)
    )
    return compared(comparisons(of_ours, of_theirs, classes, promotion.slices), champion, promotion)
