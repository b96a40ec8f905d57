"""The patch stage: plan, extract scene by scene, finalise."""

from satseg.patches.extract import Part, extract_scene
from satseg.patches.finalise import described, finalise, remember_latest, tidy
from satseg.patches.memory import give_back
from satseg.patches.patchset import SPLITS, PatchSetDescription, is_complete, open_patch_set
from satseg.patches.plan import PatchPlan, make_plan
from satseg.stages import PatchResult, PatchSpec
from satseg.storage.layout import Workspace


def run(spec: PatchSpec, workspace: Workspace) -> PatchResult:
    """Cut a dataset version into a patch set, or do one step of it; what is done already is not done again.

    Raises:
        NotFoundError: no such dataset version or scene.
        ConfigurationError: a file that the project names cannot be used.
        BadDataError: nothing is labelled, too little ground to divide, unreadable pixels, scenes not extracted.
        SplitLeakError: kept windows of different splits are too near to each other.
        TemporaryError: another process works on the same, or MLflow does not answer (preview).
    """
    result = _cut(spec, workspace)
    if not spec.preview or not is_complete(workspace, spec.project.name, result.patch_set):
        return result
    from satseg.patches.preview import make_preview  # draws, which the other steps do without

    preview = make_preview(workspace, open_patch_set(workspace, spec.project.name, result.patch_set), spec.force)
    return result.model_copy(
        update={
            "message": f"{result.message} Preview: {', '.join(preview.pictures)}",
            "preview": list(preview.pictures),
            "preview_run": preview.run_id,
            "preview_url": preview.url,
        }
    )


def _cut(spec: PatchSpec, workspace: Workspace) -> PatchResult:
    plan, warnings = make_plan(spec.project, workspace, spec.dataset_version, may_extend=spec.step in {"plan", "all"})
    give_back()
    for scene in spec.scenes:
        plan.record(scene)  # a name that is wrong is said also when there is nothing to do
    if plan.complete and not spec.force:
        if spec.step != "extract":
            remember_latest(plan)
            tidy(plan)
        return _done(plan, described(plan), False, [])
    if spec.step == "plan":
        return _planned(plan, warnings)
    if spec.step in {"extract", "all"}:
        scenes = spec.scenes or [record.id for record in plan.records]
        parts = [extract_scene(plan, scene, spec.force, spec.threads) for scene in scenes]
        if spec.step == "extract":
            return _extracted(plan, parts, warnings)
    give_back()
    description, changed = finalise(plan, spec.force)
    return _done(plan, description, changed, warnings)


def _planned(plan: PatchPlan, warnings: list[str]) -> PatchResult:
    blocks: list[str] = [block.split for block in plan.planned_blocks().values()]
    counts = _counts({split: blocks.count(split) for split in SPLITS})
    return PatchResult(
        message=(
            f"Patch set {plan.id} of {plan.version.name}: {len(plan.records)} scene(s) to extract; blocks: {counts}."
        ),
        warnings=warnings,
        patch_set=plan.id,
        dataset_version=plan.version.name,
        scenes=[record.id for record in plan.records],
    )


def _extracted(plan: PatchPlan, parts: list[Part], warnings: list[str]) -> PatchResult:
    windows = {split: sum(part.windows[split] for part in parts) for split in SPLITS}
    scenes = [part.scene for part in parts]
    return PatchResult(
        message=f"Extracted {', '.join(scenes)} for patch set {plan.id}: windows {_counts(windows)}.",
        warnings=warnings,
        patch_set=plan.id,
        dataset_version=plan.version.name,
        scenes=scenes,
        windows=windows,
    )


def _done(plan: PatchPlan, description: PatchSetDescription, changed: bool, warnings: list[str]) -> PatchResult:
    shares = ", ".join(f"{split} {description.positive_fractions[split]:.0%}" for split in SPLITS)
    verb = "Made" if changed else "Nothing to do:"
    return PatchResult(
        message=(
            f"{verb} patch set {description.id} of {plan.version.name}: windows {_counts(description.windows)}; "
            f"labelled area {shares}."
        ),
        warnings=[*warnings, *description.warnings],
        patch_set=plan.id,
        dataset_version=plan.version.name,
        scenes=sorted(description.scenes) if changed else [],
        windows={split: description.windows[split] for split in SPLITS},
        changed=changed,
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{split} {counts[split]}" for split in SPLITS)
