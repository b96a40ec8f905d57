"""The stage `predict`: from scenes and a model to maps, polygons and a STAC Item."""

import warnings
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from rasterio.errors import NotGeoreferencedWarning

from satseg.config.operation import InferenceConfig
from satseg.config.project import ProjectConfig, content_id
from satseg.errors import ConfigurationError
from satseg.inference import item
from satseg.inference.blend import blend
from satseg.inference.chosen_model import ChosenModel, choose_model
from satseg.inference.components import find_components
from satseg.inference.ground import Ground
from satseg.inference.item import PredictionRecord
from satseg.inference.maps import MapWriter
from satseg.inference.overlay import draw_overlay
from satseg.inference.polygons import Identity, polygon_features, polygon_rules, write_geojson
from satseg.inference.sources import ReadPlan, SceneInput, plan_reading, resolve_scenes
from satseg.inference.windows import Strip, WindowGrid, plan_windows, read_ahead, read_strips
from satseg.progress import progress_bar, say
from satseg.stages import Prediction, PredictResult, PredictSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory, write_json
from satseg.storage.layout import Workspace

SCHEMA = 1  # raise it when the same input gives other output


def run(spec: PredictSpec, workspace: Workspace) -> PredictResult:
    """Predict scenes; those whose prediction by the same model and settings exists are left alone.

    Raises:
        ConfigurationError: an unknown scene or model, or an output folder that holds something else.
        BadDataError: a scene that the model cannot read; nothing is predicted then.
    """
    scenes = resolve_scenes(spec.scenes, spec.project.name, workspace)
    model = choose_model(workspace, spec.project.name, spec.model)
    jobs = [_plan(scene, model, spec, workspace) for scene in scenes]
    predictions, unchanged = [], 0
    for job in jobs:
        what = f"The prediction of scene '{job.scene.id}'"
        with exclusive(workspace.lock(f"predict-{content_id(str(job.target))}"), what):
            remove_stale_temps(job.target.parent, job.target.name)
            finished = None if spec.force else item.same_work(job.target, job.record)
            unchanged += finished is not None
            predictions.append(_prediction(job, finished or _predict(job, model, spec.project.inference)))
    objects = sum(prediction.objects for prediction in predictions)
    kept = f"; {unchanged} of them were there already (--force predicts again)" if unchanged else ""
    return PredictResult(
        message=f"{len(predictions)} scene(s) predicted by model {model.label}: {objects} objects{kept}.",
        warnings=[warning for job in jobs for warning in job.plan.warnings],
        model_version=model.version,
        run_id=model.run_id,
        predictions=predictions,
    )


class _Job(NamedTuple):
    """One scene to predict."""

    scene: SceneInput
    plan: ReadPlan
    target: Path
    record: PredictionRecord  # of what goes in


def _plan(scene: SceneInput, model: ChosenModel, spec: PredictSpec, workspace: Workspace) -> _Job:
    plan = plan_reading(scene, model.description, model.label)
    target = _own_folder(spec.out.resolve() / scene.id) if spec.out else None
    return _Job(
        scene=scene,
        plan=plan,
        target=target or workspace.prediction(spec.project.name, scene.id, model.label),
        record=_record(scene, plan, model, spec.project),
    )


def _own_folder(target: Path) -> Path:
    if target.exists() and item.read_record(target) is None and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"{target} exists and is not a prediction: it will not be replaced. Give another --out folder."
        )
    return target


def _record(scene: SceneInput, plan: ReadPlan, model: ChosenModel, project: ProjectConfig) -> PredictionRecord:
    settings = project.inference.model_dump(mode="json", exclude={"batch_size"})  # which changes the speed only
    return PredictionRecord(
        project=project.name,
        model_version=model.version,
        model=model.label,
        run_id=model.run_id,
        patch_set=model.description.patch_set,
        dataset_version=model.description.dataset_version,
        git_commit=model.git_commit,
        scene_checksum=scene.checksum,
        source_checksum=scene.source_checksum,
        scene_path=str(scene.path),
        scene_dataset_version=scene.dataset_version,
        settings=content_id(SCHEMA, settings),
        coordinates=plan.grid.crs or "pixels",
    )


def _predict(job: _Job, model: ChosenModel, config: InferenceConfig) -> PredictionRecord:
    """Make all files of one scene in a temp folder that becomes the target; the item is written last."""
    scene, grid, description = job.scene, job.plan.grid, model.description
    ground = Ground(grid)
    rules = polygon_rules(config, ground, description.gsd_m)
    identity = Identity(scene.id, model.label, description.classes)
    with replacing_directory(job.target) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said in words by the plan's warnings
        maps = MapWriter(folder, grid, description.classes, config.threshold)
        _predict_maps(maps, job, model, config)
        say(f"{scene.id}: polygons")
        components = find_components(maps.strips(), rules.least_pixels)
        features = polygon_features(components, ground, rules, identity)
        totals = write_geojson(folder / item.POLYGONS_FILE, features, grid)
        maps.finish({"satseg_model": model.label, "satseg_run": model.run_id, "satseg_scene": scene.checksum})
        draw_overlay(scene.path, folder / item.POLYGONS_FILE, None, folder / item.PREVIEW_FILE)
        finished = job.record.model_copy(update=totals._asdict())
        write_json(folder / item.ITEM_FILE, item.build_item(folder, scene, grid, finished))
    return finished


def _predict_maps(maps: MapWriter, job: _Job, model: ChosenModel, config: InferenceConfig) -> None:
    size, segmenter = job.plan.grid, model.segmenter
    grid = plan_windows(size.height, size.width, config.window_px, config.overlap)
    with progress_bar(f"{job.scene.id}: rows", size.height) as advance, maps:
        strips = read_ahead(_strips(job.plan, grid))
        for rows in blend(strips, grid, segmenter.predict, model.description.channels, config.batch_size):
            maps.write(rows)
            advance(len(rows.valid))


def _strips(plan: ReadPlan, grid: WindowGrid) -> Generator[Strip]:
    with plan.open() as rows:
        yield from read_strips(rows, grid)


def _prediction(job: _Job, record: PredictionRecord) -> Prediction:
    folder = job.target
    return Prediction(
        scene=job.scene.id,
        probability=str(folder / item.PROBABILITY_FILE),
        classes=str(folder / item.CLASSES_FILE),
        polygons=str(folder / item.POLYGONS_FILE),
        preview=str(folder / item.PREVIEW_FILE),
        item=str(folder / item.ITEM_FILE),
        objects=record.objects,
        area_m2=record.area_m2,
    )
