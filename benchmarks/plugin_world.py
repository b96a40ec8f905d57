"""A workspace as years of work leave it: dataset versions, patch sets, models, nights and predictions of many projects.

Everything is written in the formats of satseg, by its own writers where they need no training: git tags with STAC
items, a real MLflow registry, drift reports, prediction folders with rasters and items.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin

from satseg.datasets.repository import GitRepository
from satseg.drift.episode import EPISODE_FILE, Episode, History
from satseg.drift.nights import PAGE_FILE
from satseg.drift.nights import REPORT_FILE as NIGHT_FILE
from satseg.evaluation.report import ALL_SIZES, BLOCKS_FILE, REPORT_FILE, EvaluationReport, report_folder
from satseg.inference.item import ITEM_FILE, PredictionRecord, build_item
from satseg.inference.sources import SceneInput
from satseg.registry.audit import AuditEntry, append
from satseg.registry.stage_words import sync_stage_tags
from satseg.scenes.grid import Grid
from satseg.stages import DriftResult, EvaluateResult, FeatureDrift, Gate, Interval
from satseg.storage.atomic import write_json, write_text
from satseg.storage.layout import Workspace
from satseg.tracking.connection import client, experiment_id
from satseg.tracking.models import set_alias

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCENE_PX, WINDOW_PX = 320, 64
FEATURES = tuple(f"{what}_{band}" for what in ("mean", "std", "p05", "p95") for band in ("red", "green", "blue"))
TRANSFORM, CRS = from_origin(450_000, 4_000_000, 0.5, 0.5), "EPSG:32636"


@dataclass(frozen=True)
class Size:
    """How much there is of each in every project."""

    versions: int = 3
    scenes: int = 4
    models: int = 3
    nights: int = 4
    predictions: int = 4


def make_project(projects_dir: Path, workspace: Workspace, name: str, size: Size, **more: Any) -> list[str]:
    """Write a project file and everything that satseg would have made of it; returns the MLflow runs."""
    projects_dir.mkdir(parents=True, exist_ok=True)
    about = {
        "name": name,
        "description": f"Roofs of {name}.",
        "classes": ["building"],
        "crs": CRS,
        "gsd_m": 0.5,
        **more,
    }
    (projects_dir / f"{name}.yaml").write_text(json.dumps(about))  # JSON is YAML
    scenes = _scenes(workspace, name, size)
    _versions(workspace, name, size, scenes)
    patch_set = _patch_set(workspace, name, scenes)
    runs = _models(workspace, name, size, patch_set)
    _nights(workspace, name, size, list(scenes))
    _predictions(workspace, name, size, scenes)
    return runs


def _scenes(workspace: Workspace, name: str, size: Size) -> dict[str, Path]:
    folder = workspace.dataset(name) / "scenes"
    folder.mkdir(parents=True)
    found: dict[str, Path] = {}
    for number in range(size.scenes):
        path = folder / f"scene-{number}.tif"
        if number == 0:
            write_raster(path, number)
        else:  # other pixels are no other work for a server
            shutil.copyfile(found["scene-0"], path)
        found[path.stem] = path
    return found


def write_raster(path: Path, seed: int) -> None:
    """Write a small georeferenced scene of noise, its upper left corner without data."""
    pixels = np.random.default_rng(seed).integers(1, 255, (3, SCENE_PX, SCENE_PX), dtype=np.uint8)
    pixels[:, :20, :20] = 0
    profile = {"driver": "GTiff", "width": SCENE_PX, "height": SCENE_PX, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(
        path, "w", crs=CRS, transform=TRANSFORM, tiled=True, blockxsize=256, blockysize=256, **profile
    ) as out:
        out.write(pixels)


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions(workspace: Workspace, name: str, size: Size, scenes: dict[str, Path]) -> None:
    repository, items = GitRepository(workspace.data), workspace.dataset(name) / "items"
    items.mkdir(parents=True)
    if not repository.exists:
        repository.initialise()
    checksum = sha256(next(iter(scenes.values())))
    for number in range(1, size.versions + 1):
        for scene in scenes:
            (items / f"{scene}.json").write_text(json.dumps(_item(scene, checksum, number)))
        repository.commit([f"{name}/items"], f"version {number}")
        repository.tag(f"{name}/v{number}", f"{size.scenes} added\n\nadded: scene-0", NOW + timedelta(days=number))


def _item(scene: str, checksum: str, number: int) -> dict[str, Any]:
    properties = {
        "satseg:checksum": checksum,
        "satseg:annotation_checksum": None,
        "satseg:source": {"name": f"{scene}.tif", "checksum": checksum},
        "satseg:ingested_at": (NOW + timedelta(days=number)).isoformat(),
        "satseg:labelled": False,
        "satseg:polygons": None,
        "satseg:bands": ["red", "green", "blue"],
        "satseg:dtype": "uint8",
        "satseg:crs": CRS,
        "satseg:gsd_m": 0.5,
        "satseg:nodata": 0,
        "proj:shape": [SCENE_PX, SCENE_PX],
        "proj:transform": list(TRANSFORM)[:6],
    }
    return {"id": scene, "properties": properties}


def _patch_set_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _patch_set(workspace: Workspace, name: str, scenes: dict[str, Path]) -> str:
    patch_set = _patch_set_id(name)
    folder = workspace.patch_set(name, patch_set)
    folder.mkdir(parents=True)
    places = [(scene, row, col) for scene in scenes for row in range(0, 320, 64) for col in range(0, 320, 64)]
    table = pd.DataFrame(places, columns=["scene", "row", "col"])
    table["size"], table["kept"] = WINDOW_PX, True
    table["split"] = np.where(table["row"] < 192, "train", np.where(table["row"] < 256, "val", "test"))
    table.to_parquet(folder / "manifest.parquet")
    names = {"bands": ["red", "green", "blue"], "classes": ["background", "building"]}
    numbers = {"mean": [90] * 3, "std": [40] * 3, "class_fractions": [0.5] * 2, "class_weights": [1.0] * 2, "pixels": 1}
    write_json(folder / "statistics.json", names | numbers)
    counts = {split: int((table["split"] == split).sum()) for split in ("train", "val", "test")}
    about = {
        "id": patch_set,
        "project": name,
        "dataset_version": "v1",
        "created": NOW.isoformat(),
        "size_px": WINDOW_PX,
        "channels": 3,
        "dtype": "uint8",
        "classes": ["building"],
        "bands": ["red", "green", "blue"],
        "gsd_m": 0.5,
        "parameters": {},
        "split_plan": "plan",
        "scenes": {scene: {"checksum": "", "annotation_checksum": ""} for scene in scenes},
        "windows": counts,
        "positive_fractions": dict.fromkeys(counts, 0.5),
        "shards": [len(table)],
    }
    write_json(folder / "patchset.json", about)
    return patch_set


def _models(workspace: Workspace, name: str, size: Size, patch_set: str) -> list[str]:
    """Register runs: the last but one is champion, the one before it previous, the last challenger."""
    from mlflow.entities import Metric, Param

    runs = []
    with client(workspace) as mlflow:
        experiment = experiment_id(mlflow, workspace, name)
        mlflow.create_registered_model(name)
        for number in range(1, size.models + 1):
            tags = {"satseg.project": name, "satseg.patch_set": patch_set, "satseg.dataset_version": "v1"}
            run = mlflow.create_run(experiment, tags=tags, run_name=f"linknet-{number}").info.run_id
            values = [Metric("val_iou", 0.2 * epoch, 1_767_225_600_000, epoch) for epoch in (1, 2, 3)]
            mlflow.log_batch(run, params=[Param("epochs", "3")], metrics=values)
            mlflow.set_terminated(run, "FINISHED")
            source = f"{workspace.mlflow.as_uri()}/none"
            mlflow.create_model_version(name, source=source, run_id=run, tags=tags | {"satseg.test_iou": "0.61"})
            _evaluated(workspace, name, run, patch_set)
            runs.append(run)
    _decided(workspace, name, size.models)
    return runs


def _evaluated(workspace: Workspace, name: str, run: str, patch_set: str) -> None:
    iou = Interval(value=0.61, low=0.55, high=0.66, blocks=40)
    scores = {"iou": 0.61, "dice": 0.76, "precision": 0.7, "recall": 0.8, "iou_all_positive": 0.33}
    result = EvaluateResult(message="IoU 0.61.", run_id=run, patch_set=patch_set, intervals={"iou": iou}, **scores)
    report = EvaluationReport(
        evaluated_at=NOW, classes=("building",), settings="0", result=result, confusion=[[1, 1], [1, 1]], reliability={}
    )
    folder = report_folder(workspace, name, run, patch_set)
    write_text(folder / REPORT_FILE, report.model_dump_json())
    blocks = pd.DataFrame({"scene": "scene-0", "block": [f"{number}-0" for number in range(40)], "reference": True})
    blocks[["class_id", "size_bin"]] = 1, ALL_SIZES
    blocks[["tp", "fp", "fn", "tn"]] = 61, 20, 19, 100
    blocks.to_parquet(folder / BLOCKS_FILE)


def _decided(workspace: Workspace, name: str, models: int) -> None:
    gate = Gate(name="min_iou", passed=True, value=0.61, bound=0.3, evidence="IoU 0.610, must be at least 0.300")
    champion = max(models - 1, 1)
    for version in range(1, champion + 1):
        before = str(version - 1) if version > 1 else None
        made = AuditEntry(who="gates", action="promoted", from_version=before, to_version=str(version), gates=[gate])
        append(workspace.audit_log(name), made)
    set_alias(workspace, name, "champion", str(champion))
    if champion > 1:
        set_alias(workspace, name, "previous", str(champion - 1))
    if models > champion:
        set_alias(workspace, name, "challenger", str(models))
    sync_stage_tags(workspace, name)


def _nights(workspace: Workspace, name: str, size: Size, scenes: list[str]) -> None:
    nights = [(date(2026, 1, 1) + timedelta(days=number)).isoformat() for number in range(size.nights)]
    for number, night in enumerate(nights):
        drifted = number == size.nights - 1
        tests = [
            FeatureDrift(
                feature=feature,
                distance=0.1,
                p_value=0.5,
                p_adjusted=0.5,
                shift=0.1,
                drifted=drifted,
                kind="radiometric",
            )
            for feature in FEATURES
        ]
        result = DriftResult(
            message=f"Night {night}.",
            night=night,
            verdict="drift" if drifted else "no drift",
            drifted=drifted,
            p_value=0.01 if drifted else 0.5,
            level=0.02,
            features=tests,
            scenes=scenes,
            reference_version="v1",
            champion="v1",
        )
        folder = workspace.drift_night(name, night)
        folder.mkdir(parents=True)
        (folder / NIGHT_FILE).write_text(result.model_dump_json())
        (folder / PAGE_FILE).write_text(f"<!doctype html><title>{night}</title><p>{night}</p>")
    if nights:
        episode = Episode(night=nights[-1], opened_at=NOW, reason="drift")
        write_json(workspace.drift(name) / EPISODE_FILE, History(episodes=[episode]).model_dump(mode="json"))


def _predictions(workspace: Workspace, name: str, size: Size, scenes: dict[str, Path]) -> None:
    """Write one prediction, and copies of it under the names of other scenes and models."""
    first = workspace.prediction(name, "scene-0", "v1")
    _write_maps(first)
    write_json(first / ITEM_FILE, _prediction_item(first, name, scenes["scene-0"]))
    text = (first / ITEM_FILE).read_text()
    for number in range(1, size.predictions):
        scene, version = f"scene-{number % size.scenes}", 1 + number // size.scenes
        folder = workspace.prediction(name, scene, f"v{version}")
        shutil.copytree(first, folder)
        about = {'"satseg:model": "v1"': f'"satseg:model": "v{version}"', "scene-0": scene}
        about['"satseg:model_version": "1"'] = f'"satseg:model_version": "{version}"'
        other = text
        for old, new in about.items():
            other = other.replace(old, new)
        (folder / ITEM_FILE).write_text(other)


def _prediction_item(folder: Path, name: str, scene: Path) -> dict[str, Any]:
    checksum = sha256(scene)
    record = PredictionRecord(
        project=name,
        model_version="1",
        model="v1",
        run_id="f" * 32,
        patch_set=_patch_set_id(name),
        dataset_version="v1",
        git_commit="c0ffee",
        scene_checksum=checksum,
        source_checksum=checksum,
        scene_path=str(scene),
        scene_dataset_version="v1",
        settings="0",
        coordinates=CRS,
        objects=3,
    )
    shown = SceneInput(scene.stem, scene, checksum, checksum, "v1")
    return build_item(folder, shown, Grid(SCENE_PX, SCENE_PX, TRANSFORM, CRS), record)


def _write_maps(folder: Path) -> None:
    folder.mkdir(parents=True)
    profile = {"driver": "GTiff", "width": SCENE_PX, "height": SCENE_PX, "count": 1, "dtype": "uint8"}
    values = np.zeros((SCENE_PX, SCENE_PX), np.uint8)
    values[100:200, 100:200] = 1
    with rasterio.open(folder / "classes.tif", "w", crs=CRS, transform=TRANSFORM, **profile) as out:
        out.write(values, 1)
    with rasterio.open(folder / "probability.tif", "w", crs=CRS, transform=TRANSFORM, nodata=255, **profile) as out:
        out.write(values * 254, 1)
    (folder / "polygons.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (folder / "preview.png").write_bytes(b"\x89PNG\r\n\x1a\n")
