"""The stage `predict`: from scenes and a model to maps, polygons and a STAC Item."""

import math
from pathlib import Path

from satseg.config.project import ProjectConfig, content_id
from satseg.errors import ConfigurationError
from satseg.inference import item
from satseg.inference.chosen_model import ChosenModel, choose_model
from satseg.inference.item import PredictionRecord
from satseg.inference.mapping import Job, SceneMapper
from satseg.inference.polygon_files import FORMATS
from satseg.inference.sources import ReadPlan, SceneInput, plan_reading, resolve_scenes
from satseg.progress import say
from satseg.stages import Prediction, PredictResult, PredictSpec
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace

SCHEMA = 3  # raise it when the same input gives other output
_SPEED_ONLY = {"batch_size", "engine", "split_mpix"}  # the engine that is used is recorded by its name


def run(spec: PredictSpec, workspace: Workspace) -> PredictResult:
    """Predict scenes; those whose prediction by the same model and settings exists are left alone.

    A killed run goes on after its last finished part. With `part`, only a share of the rows is predicted and kept as
    parts, which the run without `part` joins.

    Raises:
        ConfigurationError: an unknown scene or model, or an output folder that holds something else.
        BadDataError: a scene that the model cannot read; nothing is predicted then.
    """
    scenes = resolve_scenes(spec.scenes, spec.project.name, workspace)
    model = choose_model(workspace, spec.project.name, spec.model, spec.project.inference.engine)
    jobs = [_plan(scene, model, spec, workspace) for scene in scenes]
    predictions: list[Prediction] = []
    parts: list[list[str]] = []
    if spec.step == "plan":
        parts = [part for job in jobs for part in _shares(job, spec)]
        message = f"{len(jobs)} scene(s), of which {len({scene for scene, _ in parts})} in {len(parts)} parts."
    elif spec.part is not None:
        message = " ".join(_predict_part(job, model, spec, workspace) for job in jobs)
    else:
        done = [_predict(job, model, spec, workspace) for job in jobs]
        predictions, unchanged = [prediction for prediction, _ in done], sum(kept for _, kept in done)
        objects = sum(prediction.objects for prediction in predictions)
        kept = f"; {unchanged} of them were there already (--force predicts again)" if unchanged else ""
        message = f"{len(predictions)} scene(s) predicted by model {model.label}: {objects} objects{kept}."
    return PredictResult(
        message=message,
        warnings=[warning for job in jobs for warning in job.plan.warnings],
        model_version=model.version,
        run_id=model.run_id,
        predictions=predictions,
        engine=model.engine,
        scenes=[job.scene.id for job in jobs],
        parts=parts,
    )


def _plan(scene: SceneInput, model: ChosenModel, spec: PredictSpec, workspace: Workspace) -> Job:
    plan = plan_reading(scene, model.description, model.label)
    record = _record(scene, plan, model, spec.project)
    return Job(
        scene=scene,
        plan=plan,
        target=_own_folder(spec.out.resolve() / scene.id)
        if spec.out
        else workspace.prediction(spec.project.name, scene.id, model.label),
        record=record,
        key=content_id(record.run_id, record.scene_checksum, record.settings),
    )


def _own_folder(target: Path) -> Path:
    if target.exists() and item.read_record(target) is None and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"{target} exists and is not a prediction: it will not be replaced. Give another --out folder."
        )
    return target


def _record(scene: SceneInput, plan: ReadPlan, model: ChosenModel, project: ProjectConfig) -> PredictionRecord:
    settings = project.inference.model_dump(mode="json", exclude=_SPEED_ONLY)
    return PredictionRecord(
        project=project.name,
        model_version=model.version,
        model=model.label,
        run_id=model.run_id,
        engine=model.engine,
        patch_set=model.description.patch_set,
        dataset_version=model.description.dataset_version,
        git_commit=model.git_commit,
        scene_checksum=scene.checksum,
        source_checksum=scene.source_checksum,
        scene_path=str(scene.path),
        scene_dataset_version=scene.dataset_version,
        settings=content_id(SCHEMA, settings, model.engine),
        coordinates=plan.grid.crs or "pixels",
    )


def _shares(job: Job, spec: PredictSpec) -> list[list[str]]:
    """Return the shares of a scene that is too large for one task."""
    most = spec.project.inference.split_mpix
    shares = math.ceil(job.plan.grid.height * job.plan.grid.width / (most * 1_000_000)) if most else 1
    if shares < 2 or item.same_work(job.target, job.record) is not None:
        return []
    name = job.scene.id if job.scene.dataset_version else str(job.scene.path)
    return [[name, f"{number}/{shares}"] for number in range(1, shares + 1)]


def _predict_part(job: Job, model: ChosenModel, spec: PredictSpec, workspace: Workspace) -> str:
    assert spec.part is not None
    number, of = (int(word) for word in spec.part.split("/"))
    if number > of:
        raise ConfigurationError(f"There is no part {spec.part}: the first number is at most the second.")
    if not spec.force and item.same_work(job.target, job.record) is not None:
        return f"The prediction of scene '{job.scene.id}' is there already."
    what = f"Part {spec.part} of the prediction of scene '{job.scene.id}'"
    with exclusive(workspace.lock(f"predict-{content_id(str(job.target))}-{number}-{of}"), what):
        rows = SceneMapper(job, model, spec.project.inference).predict_share(number, of)
    return (
        f"Rows {rows.start} to {rows.stop - 1} of scene '{job.scene.id}' are predicted; run it without --part to join."
    )


def _predict(job: Job, model: ChosenModel, spec: PredictSpec, workspace: Workspace) -> tuple[Prediction, bool]:
    """Predict one scene; also returns whether its prediction was there already."""
    what = f"The prediction of scene '{job.scene.id}'"
    with exclusive(workspace.lock(f"predict-{content_id(str(job.target))}"), what):
        remove_stale_temps(job.target.parent, job.target.name)
        there = None if spec.force else item.same_work(job.target, job.record)
        if there is not None:
            return _prediction(job, there, spec), True
        if spec.force:
            job.remove_parts()
        elif job.parts_folder.is_dir():
            say(f"{job.scene.id}: going on with the parts that are finished")
        return _prediction(job, SceneMapper(job, model, spec.project.inference).predict(), spec), False


def _prediction(job: Job, record: PredictionRecord, spec: PredictSpec) -> Prediction:
    folder, formats = job.target, spec.project.inference.polygon_formats
    files = {name: str(folder / FORMATS[name].file) for name in formats}
    return Prediction(
        scene=job.scene.id,
        probability=str(folder / item.PROBABILITY_FILE),
        classes=str(folder / item.CLASSES_FILE),
        polygons=files.get("geojson", files[formats[0]]),
        preview=str(folder / item.PREVIEW_FILE),
        item=str(folder / item.ITEM_FILE),
        objects=record.objects,
        area_m2=record.area_m2,
        polygon_files=files,
    )
