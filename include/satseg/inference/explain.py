"""The stage `explain`: pictures and a raster of where a model looks in a scene and where it is unsure."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from satseg.config.project import content_id
from satseg.errors import ConfigurationError
from satseg.inference.chosen_model import ChosenModel, choose_model
from satseg.inference.explanation import BANDS, explained_rows, explaining
from satseg.inference.explanation_picture import draw_explanation
from satseg.inference.sources import ReadPlan, SceneInput, plan_reading, resolve_scenes
from satseg.inference.windows import Region
from satseg.models.interface import Explainer
from satseg.progress import progress_bar
from satseg.scenes.cog import to_cog
from satseg.stages import ExplainResult, ExplainSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory, write_json
from satseg.storage.layout import Workspace

SCHEMA = 1  # raise it when the same input gives other output
RASTER_FILE, PICTURE_FILE, RECORD_FILE = "explanation.tif", "explanation.png", "explanation.json"


class _Job(NamedTuple):
    scene: SceneInput
    plan: ReadPlan
    region: Region
    model: ChosenModel
    class_name: str
    class_id: int
    key: str


class _Sums(NamedTuple):
    pixels: int
    of_class: int
    entropy: float
    disagreement: float


def run(spec: ExplainSpec, workspace: Workspace) -> ExplainResult:
    """Explain a scene or a window of it; nothing is done again for the same scene, place, model and settings.

    Raises:
        ConfigurationError: an unknown scene, class or model, or a window outside the scene.
        BadDataError: a scene that the model cannot read.
    """
    job = _planned(spec, workspace)
    part = "" if spec.window is None else "-r{}-c{}-{}".format(*spec.window)
    default = workspace.explanation(spec.project.name, job.scene.id, f"{job.model.label}-{job.class_name}{part}")
    folder = spec.out.resolve() if spec.out else default
    if spec.out and folder.exists() and _read(folder) is None and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} exists and is no explanation: it will not be replaced. Give another --out.")
    with exclusive(workspace.lock(f"explain-{content_id(str(folder))}"), f"The explanation of '{job.scene.id}'"):
        remove_stale_temps(folder.parent, folder.name)
        known = None if spec.force else _read(folder)
        if known is not None and known["key"] == job.key:
            return _result(job, folder, known["sums"], changed=False)
        with replacing_directory(folder) as temp:
            explainer = load_explainer(job.model, job.class_id, spec.project.inference.threshold, spec.stride)
            sums = _write_raster(temp / RASTER_FILE, job, spec, explainer)
            draw_explanation(job.plan, job.region, temp / RASTER_FILE, temp / PICTURE_FILE)
            write_json(temp / RECORD_FILE, {"key": job.key, "sums": sums._asdict(), "class": job.class_name})
    return _result(job, folder, sums._asdict(), changed=True)


def load_explainer(model: ChosenModel, class_id: int, threshold: float, stride: int) -> Explainer:
    """Load a model that explains a class; needs TensorFlow."""
    from satseg.models.keras.seg_grad_cam import KerasExplainer

    return KerasExplainer(model.folder, class_id, threshold, stride)


def _planned(spec: ExplainSpec, workspace: Workspace) -> _Job:
    (scene,) = resolve_scenes([spec.scene], spec.project.name, workspace)
    model = choose_model(workspace, spec.project.name, spec.model)
    plan = plan_reading(scene, model.description, model.label)
    classes = model.description.classes
    name = spec.class_name or classes[0]
    if name not in classes:
        raise ConfigurationError(f"Model {model.label} knows no class '{name}'; it knows {', '.join(classes)}.")
    region = _region(spec.window, plan)
    settings = spec.project.inference.model_dump(mode="json", exclude={"engine", "batch_size"})
    key = content_id(SCHEMA, model.run_id, scene.checksum, region, name, spec.stride, spec.test_time, settings)
    return _Job(scene, plan, region, model, name, classes.index(name) + 1, key)


def _region(window: tuple[int, int, int] | None, plan: ReadPlan) -> Region:
    height, width = plan.grid.height, plan.grid.width
    if window is None:
        return Region(0, height, 0, width)
    row, col, side = window
    if not (0 <= row < height and 0 <= col < width and side > 0):
        raise ConfigurationError(
            f"Window {row},{col},{side} lies outside the scene, which has {height} rows and {width} columns."
        )
    return Region(row, min(row + side, height), col, min(col + side, width))


def _write_raster(path: Path, job: _Job, spec: ExplainSpec, explainer: Explainer) -> _Sums:
    """Write the bands as a Cloud-Optimized GeoTIFF, row by row."""
    region, grid = job.region, job.plan.grid
    height, width = region.bottom - region.top, region.right - region.left
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "float32", "nodata": np.nan, "count": len(BANDS)}
    profile |= {"height": height, "width": width, "tiled": True, "compress": "deflate", "bigtiff": "if_safer"}
    if grid.crs is not None:
        profile |= {"crs": grid.crs, "transform": grid.transform @ Affine.translation(region.left, region.top)}
    explain = explaining(explainer, spec.test_time, job.class_id)
    rows = explained_rows(job.plan, region, explain, spec.project.inference)
    totals, raw = np.zeros(4), path.with_name("raw.tif")
    with (
        rasterio.open(raw, "w", **profile) as target,
        progress_bar(f"{job.scene.id}: rows explained", height) as advance,
        closing(rows),
    ):
        for finished in rows:
            values, valid = finished.probabilities, finished.valid
            totals += _added(values[valid], spec.project.inference.threshold)
            shown = np.where(valid[..., None], values, np.float32(np.nan))
            top = finished.row - region.top
            target.write(shown.transpose(2, 0, 1), window=Window(0, top, width, len(values)))
            advance(len(values))
    to_cog(raw, path, descriptions=BANDS, tags={"satseg_model": job.model.label, "satseg_class": job.class_name})
    raw.unlink()
    return _Sums(int(totals[0]), int(totals[1]), float(totals[2]), float(totals[3]))


def _added(values: np.ndarray, threshold: float) -> np.ndarray:
    return np.array([len(values), (values[:, 0] >= threshold).sum(), values[:, 2].sum(), values[:, 3].sum()])


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if {"key", "sums"} <= set(known) else None


def _result(job: _Job, folder: Path, sums: dict[str, Any], changed: bool) -> ExplainResult:
    pixels = max(1, sums["pixels"])
    fraction, entropy, disagreement = (sums[name] / pixels for name in ("of_class", "entropy", "disagreement"))
    return ExplainResult(
        message=f"{job.scene.id}: where {job.model.label} looks for {job.class_name}, in {folder}. "
        f"{fraction:.1%} of the ground is {job.class_name}; mean uncertainty {entropy:.3f}.",
        warnings=list(job.plan.warnings),
        scene=job.scene.id,
        model=job.model.label,
        class_name=job.class_name,
        raster=str(folder / RASTER_FILE),
        picture=str(folder / PICTURE_FILE),
        bands=list(BANDS),
        class_fraction=round(fraction, 6),
        mean_entropy=round(entropy, 6),
        mean_disagreement=round(disagreement, 6),
        changed=changed,
    )
