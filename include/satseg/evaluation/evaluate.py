"""Measure a model on the held-out blocks of a patch set; the same question is answered once."""

from functools import partial
from pathlib import Path

from pydantic import ValidationError

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError, NotFoundError
from satseg.evaluation.measure import Measurement, Predict, measure, predict_classes
from satseg.evaluation.pictures import Sample, SceneMaps, sample, write_samples
from satseg.evaluation.report import make_report, read_report, report_folder, write_report
from satseg.evaluation.samples import choose
from satseg.evaluation.summary import metrics, summarise
from satseg.evaluation.windows import HeldOut, WindowReader, held_out
from satseg.models.interface import DESCRIPTION_FILE, ModelDescription, Segmenter
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.progress import say
from satseg.stages import EvaluateResult, EvaluateSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, model_folder, resolve_model
from satseg.tracking.runs import RunRecord, get_run, log_to_run

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
        if stored is not None and not spec.force and stored.result.threshold == project.inference.threshold:
            say(f"{ref.label} was measured on {patch_set.id} already; --force measures again.")
            return stored.result
        return _evaluate(workspace, project, ref, record, patch_set)


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
    windows = held_out(patch_set)
    if not windows:
        raise BadDataError(
            f"Patch set {patch_set.id} has no test windows. Add scenes, make patches.block_px smaller or "
            "patches.test_fraction larger, and run `satseg patch` again."
        )
    segmenter = load(workspace, ref)
    if (reason := misfit(segmenter.description, patch_set)) is not None:
        raise BadDataError(f"{ref.label} cannot be measured: {reason}. Give a patch set that fits with --patch-set.")
    target = report_folder(workspace, project.name, ref.run_id, patch_set.id)
    remove_stale_temps(target.parent)
    with replacing_directory(target) as folder, WindowReader(workspace, patch_set, windows) as reader:
        measurement = Measurement(patch_set.classes)
        maps = SceneMaps(folder, measurement, windows, patch_set)
        predict = partial(predict_classes, segmenter, threshold=project.inference.threshold)
        measure(measurement, predict, reader, windows, batch_size=project.inference.batch_size, on_batch=maps)
        samples = folder / "samples.png"
        write_samples(_samples(measurement, predict, reader, windows, patch_set), samples)
        result = summarise(measurement, ref.label, ref.run_id, patch_set.id).model_copy(
            update={
                "windows": len(windows),
                "threshold": project.inference.threshold,
                "pictures": [str(target / path.name) for path in (samples, *maps.paths)],
                "warnings": _warnings(measurement, patch_set) + reader.warnings,
            }
        )
        write_report(folder, make_report(measurement, result))
        _log(workspace, record, result, folder)
    return result


def _samples(
    measurement: Measurement, predict: Predict, reader: WindowReader, windows: list[HeldOut], patch_set: PatchSet
) -> list[Sample]:
    samples = []
    for kind, window in choose(windows, measurement.window_iou):
        batch = reader.read([window])
        iou = measurement.window_iou[window.number]
        caption = f"{kind}: {window.scene}, row {window.row}, column {window.col}, IoU {iou:.3f}"
        samples.append(sample(caption, batch, predict(batch.images), patch_set))
    return samples


def _warnings(measurement: Measurement, patch_set: PatchSet) -> list[str]:
    total = measurement.total()
    absent = [name for number, name in enumerate(measurement.classes, start=1) if not total[number].any()]
    return [f"No test window of {patch_set.id} has a labelled pixel of: {', '.join(absent)}."] if absent else []


def _log(workspace: Workspace, record: RunRecord, result: EvaluateResult, folder: Path) -> None:
    # a champion measured on a challenger's patch set must not overwrite the scores on its own
    own = record.tags.get(PATCH_SET_TAG) == result.patch_set
    prefix = "test" if own else f"test_on_{result.patch_set}"
    files = dict.fromkeys(sorted(folder.iterdir()), f"evaluation/{result.patch_set}")
    log_to_run(workspace, record.id, metrics=metrics(result, prefix), files=files)
