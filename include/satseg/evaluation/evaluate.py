"""Measure a model on the held-out blocks of a patch set; the same question is answered once."""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from satseg.config.project import ProjectConfig, content_id
from satseg.errors import BadDataError, NotFoundError
from satseg.evaluation.hard_negatives import LIST_FILE, write_hard_negatives
from satseg.evaluation.intervals import ENOUGH_BLOCKS
from satseg.evaluation.leaks import Trained, trained_ground
from satseg.evaluation.page import write_page
from satseg.evaluation.pictures import Pictures
from satseg.evaluation.report import PAGE_FILE, block_table, make_report, read_report, report_folder, write_report
from satseg.evaluation.scene_pass import ScenePass, Scenes, rules_of
from satseg.evaluation.scene_rows import Predictor
from satseg.evaluation.summary import metrics, summarise
from satseg.evaluation.tally import Tally
from satseg.evaluation.windows import HeldOut, evenly, held_out
from satseg.models.interface import DESCRIPTION_FILE, ModelDescription, Segmenter
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.progress import say
from satseg.stages import EvaluateResult, EvaluateSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, model_folder, resolve_model
from satseg.tracking.runs import RunRecord, get_run, log_to_run

SCHEMA = 1  # raise it when the same model gives other numbers
PATCH_SET_TAG = "satseg.patch_set"


def run(spec: EvaluateSpec, workspace: Workspace) -> EvaluateResult:
    """Return the scores of a model on the test split of a patch set, with a report in the workspace and in MLflow.

    Raises:
        NotFoundError: no such model or patch set.
        BadDataError: model and patch set do not fit, or there is nothing held out.
    """
    project = spec.project
    ref = resolve_model(workspace, project.name, spec.model)
    record = get_run(workspace, ref.run_id)
    patch_set = patch_set_of(workspace, project, record, spec.patch_set)
    with exclusive(workspace.lock(f"evaluate-{project.name}-{ref.run_id}"), f"The evaluation of {ref.label}"):
        stored = read_report(workspace, project.name, ref.run_id, patch_set.id)
        if stored is not None and not spec.force and stored.settings == settings_of(project):
            say(f"{ref.label} was measured on {patch_set.id} already; --force measures again.")
            result = stored.result
        else:
            result = _evaluate(workspace, project, ref, record, patch_set)
        return _with_hard_negatives(workspace, project, ref, patch_set, result) if spec.hard_negatives else result


def settings_of(project: ProjectConfig) -> str:
    """Return a hash of all settings that change what is measured."""
    inference = project.inference.model_dump(mode="json", exclude={"batch_size"})
    return content_id("evaluation", SCHEMA, inference, project.evaluation)


def patch_set_of(workspace: Workspace, project: ProjectConfig, record: RunRecord, wanted: str | None) -> PatchSet:
    """Return the patch set asked for, or the one the run was trained on.

    Raises:
        NotFoundError: it is not in the workspace, or the run does not say which it was.
    """
    name = wanted or record.tags.get(PATCH_SET_TAG)
    if not name:
        raise NotFoundError(f"Run {record.id} does not say what it was trained on; give --patch-set ID.")
    try:
        return open_patch_set(workspace, project.name, name)
    except NotFoundError as error:
        if wanted:
            raise
        raise NotFoundError(
            f"Run {record.id} was trained on patch set {name}, which is gone. {error} "
            f"Make it again with `satseg patch --dataset-version {record.tags.get('satseg.dataset_version', 'vN')}`, "
            "or give another with --patch-set ID."
        ) from error


def misfit(description: ModelDescription, patch_set: PatchSet) -> str | None:
    """Say why a model cannot be measured on a patch set; None when it can."""
    pairs = (
        ("classes", description.classes, patch_set.classes),
        ("bands", description.bands, patch_set.bands),
        ("dtype", description.dtype, patch_set.dtype),
    )
    for what, of_model, of_patches in pairs:
        if of_model != of_patches:
            return f"the model has {what} {of_model}, patch set {patch_set.id} has {of_patches}"
    return None


def read_description(workspace: Workspace, ref: ModelRef) -> ModelDescription:
    """Read what a model is made for, without loading it.

    Raises:
        BadDataError: the model's files are missing or damaged.
    """
    path = model_folder(workspace, ref) / DESCRIPTION_FILE
    try:
        return ModelDescription.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadDataError(f"{path} does not describe a model of satseg ({error}). Train it again.") from error


def load(workspace: Workspace, ref: ModelRef) -> Segmenter:
    """Load the model of a run; imports TensorFlow."""
    from satseg.models.keras.load import load_segmenter

    return load_segmenter(model_folder(workspace, ref))


def _evaluate(
    workspace: Workspace, project: ProjectConfig, ref: ModelRef, record: RunRecord, patch_set: PatchSet
) -> EvaluateResult:
    scenes, every = Scenes(workspace, patch_set), held_out(patch_set)
    trained = trained_ground(workspace, project.name, record, patch_set, every)
    windows = _measurable(patch_set, every, trained)
    segmenter = load(workspace, ref)
    if (reason := misfit(segmenter.description, patch_set)) is not None:
        raise BadDataError(f"{ref.label} cannot be measured: {reason}. Give a patch set that fits with --patch-set.")
    target = report_folder(workspace, project.name, ref.run_id, patch_set.id)
    remove_stale_temps(target.parent)
    with replacing_directory(target) as folder:
        tally = Tally.of(patch_set.classes, windows, project.evaluation.calibration_bins)
        with Pictures(folder, patch_set, tally, windows) as pictures:
            predictor = Predictor(segmenter, project.inference)
            scene_pass = ScenePass(project, patch_set, scenes, predictor, tally, pictures.add)
            warnings = scene_pass.run([*windows, *_validation(patch_set, project, len(windows))])
            pictures.finish()
        result = summarise(tally, project.evaluation, ref.label, ref.run_id, patch_set.id).model_copy(
            update={
                "excluded_windows": len(every) - len(windows),
                "threshold": project.inference.threshold,
                "boundary_px": rules_of(project, patch_set, None).boundary_px,
                "page": str(target / PAGE_FILE),
                "pictures": [str(target / path.name) for path in pictures.paths],
                "warnings": [*_warnings(tally, patch_set), *trained.warnings, *warnings],
            }
        )
        report = make_report(tally, result, settings_of(project))
        write_page(folder, project, report, pictures.maps)
        write_report(folder, report, block_table(tally))
        _log(workspace, record, result, folder)
    return result


def _with_hard_negatives(
    workspace: Workspace, project: ProjectConfig, ref: ModelRef, patch_set: PatchSet, result: EvaluateResult
) -> EvaluateResult:
    """Add the list to the report's folder, and its path to the result."""
    path = report_folder(workspace, project.name, ref.run_id, patch_set.id) / LIST_FILE
    segmenter = load(workspace, ref)
    found = write_hard_negatives(path, project, patch_set, Scenes(workspace, patch_set), segmenter)
    log_to_run(workspace, ref.run_id, files={path: f"evaluation/{patch_set.id}"})
    say(f"{found} hard negatives in {path}; train on them: --set patches.hard_negatives={path}")
    return result.model_copy(update={"hard_negatives": str(path)})


def _measurable(patch_set: PatchSet, windows: list[HeldOut], trained: Trained) -> list[HeldOut]:
    """Return the test windows on ground that the model was not trained on, numbered from 0.

    Raises:
        BadDataError: there are none.
    """
    if not windows:
        raise BadDataError(
            f"Patch set {patch_set.id} has no test windows. Add scenes, make patches.block_px smaller or "
            "patches.test_fraction larger, and run `satseg patch` again."
        )
    left = [window for window in windows if window.number not in trained.windows]
    if not left:
        raise BadDataError(
            f"The model was trained on the ground of all {len(windows)} test windows of patch set {patch_set.id}: its "
            "scores there would mean nothing. Give another patch set with --patch-set."
        )
    return [replace(window, number=number) for number, window in enumerate(left)]


def _validation(patch_set: PatchSet, project: ProjectConfig, first_number: int) -> list[HeldOut]:
    """Return the validation windows of the threshold sweep; the most probable class knows no threshold."""
    if len(patch_set.classes) > 1 or not project.evaluation.threshold_windows:
        return []
    return evenly(held_out(patch_set, "val", first_number), project.evaluation.threshold_windows)


def _warnings(tally: Tally, patch_set: PatchSet) -> list[str]:
    labelled = tally.confusion.sum(axis=(0, 2))
    absent = [name for number, name in enumerate(tally.classes, start=1) if not labelled[number]]
    found = [f"No test window of {patch_set.id} has a labelled pixel of: {', '.join(absent)}."] if absent else []
    if len(tally.keys) < ENOUGH_BLOCKS:
        found.append(
            f"There are only {len(tally.keys)} test blocks; intervals are reliable from {ENOUGH_BLOCKS} on. "
            "Add labelled scenes, or make patches.block_px smaller."
        )
    return found


def _log(workspace: Workspace, record: RunRecord, result: EvaluateResult, folder: Path) -> None:
    # a champion measured on a challenger's patch set must not overwrite the scores on its own
    own = record.tags.get(PATCH_SET_TAG) == result.patch_set
    prefix = "test" if own else f"test_on_{result.patch_set}"
    files = dict.fromkeys(sorted(folder.iterdir()), f"evaluation/{result.patch_set}")
    log_to_run(workspace, record.id, metrics=metrics(result, prefix), files=files)
