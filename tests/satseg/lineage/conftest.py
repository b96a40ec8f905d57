"""A dataset of two versions, a patch set and a prediction on disk; MLflow's answers are given by the tests."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from affine import Affine

from satseg.config.project import ProjectConfig
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.inference.item import PredictionRecord, build_item
from satseg.inference.sources import SceneInput
from satseg.lineage import links, target, users
from satseg.scenes.grid import Grid
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef, VersionRecord
from satseg.tracking.runs import RunRecord

RUN, PATCH_SET = "f" * 32, "0123456789ab"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Registry:
    """What MLflow would answer: one run, registered as v1."""

    def __init__(self):
        tags = {"satseg.patch_set": PATCH_SET, "satseg.dataset_version": "v1", "satseg.git_commit": "c0ffee"}
        self.runs = {RUN: RunRecord(RUN, "tiny", "FINISHED", {}, {"test/iou": 0.7}, tags, NOW, NOW, "file:///a")}
        self.versions = [VersionRecord("1", RUN, ("champion",), {"stage": "Production"}, NOW, "")]

    def get_run(self, workspace, run_id):
        if run_id not in self.runs:
            raise NotFoundError("no run")
        return self.runs[run_id]

    def find_runs(self, workspace, project, tags):
        return [run for run in self.runs.values() if tags.items() <= run.tags.items()]

    def resolve(self, workspace, project, reference):
        for record in self.versions:
            if reference.removeprefix("v") == record.version or reference in (*record.aliases, record.run_id):
                return record.ref
        if reference in self.runs:
            return ModelRef(reference, None, ())
        raise NotFoundError("no model")


@pytest.fixture
def registry(monkeypatch):
    made = Registry()
    monkeypatch.setattr(links, "get_run", made.get_run)
    monkeypatch.setattr(links, "versions", lambda *args: made.versions)
    monkeypatch.setattr(users, "versions", lambda *args: made.versions)
    monkeypatch.setattr(users, "find_runs", made.find_runs)
    monkeypatch.setattr(target, "resolve_model", made.resolve)
    return made


@pytest.fixture
def project():
    return ProjectConfig(name="houses", classes=("building",))


def _version(workspace: Workspace, contents: dict[str, bytes], number: int) -> None:
    dataset, repository = workspace.dataset("houses"), GitRepository(workspace.data)
    for scene, content in contents.items():
        path = dataset / "scenes" / f"{scene}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        properties = {
            "satseg:checksum": sha256(path),
            "satseg:annotation_checksum": "a" * 64,
            "satseg:source": {"name": f"{scene}.png", "checksum": f"{number}" * 64},
            "satseg:ingested_at": NOW.isoformat(),
        }
        item = dataset / "items" / f"{scene}.json"
        item.parent.mkdir(exist_ok=True)
        item.write_text(json.dumps({"id": scene, "properties": properties}))
    if not repository.exists:
        repository.initialise()
    repository.commit(["houses/items"], f"version {number}")
    repository.tag(f"houses/v{number}", f"version {number}")


def _patch_set(workspace: Workspace) -> None:
    folder = workspace.patch_set("houses", PATCH_SET)
    folder.mkdir(parents=True)
    for name in ("images-00000.npy", "masks-00000.npy"):
        (folder / name).write_bytes(b"x")
    statistics = {"mean": [1], "std": [1], "class_fractions": [1], "class_weights": [1], "pixels": 1}
    (folder / "statistics.json").write_text(json.dumps(statistics | {"bands": ["grey"], "classes": ["building"]}))
    description = {
        "id": PATCH_SET,
        "project": "houses",
        "dataset_version": "v1",
        "created": NOW.isoformat(),
        "size_px": 64,
        "channels": 1,
        "dtype": "uint8",
        "classes": ["building"],
        "bands": ["grey"],
        "gsd_m": None,
        "parameters": {},
        "split_plan": "",
        "scenes": {},
        "windows": {"train": 8, "val": 2, "test": 2},
        "positive_fractions": {},
        "shards": [12],
    }
    (folder / "patchset.json").write_text(json.dumps(description))


def _prediction(workspace: Workspace) -> Path:
    folder = workspace.prediction("houses", "west", "v1")
    folder.mkdir(parents=True)
    for name in ("probability.tif", "classes.tif", "polygons.geojson", "preview.png"):
        (folder / name).write_text(name)
    path = workspace.dataset("houses") / "scenes" / "west.tif"
    scene = SceneInput("west", path, sha256(path), "5" * 64, "v1")
    record = PredictionRecord(
        project="houses",
        model_version="1",
        model="v1",
        run_id=RUN,
        patch_set=PATCH_SET,
        dataset_version="v1",
        git_commit="c0ffee",
        scene_checksum=scene.checksum,
        source_checksum=scene.source_checksum,
        scene_path=str(path),
        scene_dataset_version="v1",
        settings="0",
        coordinates="pixels",
        objects=3,
    )
    item = build_item(folder, scene, Grid(8, 8, Affine.identity(), None), record)
    (folder / "item.json").write_text(json.dumps(item))
    return folder


@pytest.fixture
def workspace(tmp_path, registry):
    made = Workspace(tmp_path / "workspace")
    _version(made, {"east": b"east pixels", "west": b"west pixels"}, 1)
    _patch_set(made)
    return made


@pytest.fixture
def prediction(workspace):
    return _prediction(workspace)


@pytest.fixture
def second_version(workspace):
    _version(workspace, {"east": b"newer pixels of east"}, 2)
