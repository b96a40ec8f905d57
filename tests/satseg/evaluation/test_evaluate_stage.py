"""The whole stage with a real network and a real MLflow: scores of the map, leaks left out, files and artifacts."""

import json

import numpy as np
import pytest

from model_descriptions import describe
from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError
from satseg.evaluation import evaluate
from satseg.evaluation.report import read_blocks, read_report
from satseg.stages import EvaluateSpec
from satseg.storage.layout import Workspace

pytestmark = pytest.mark.slow

SIZE, OWN, OTHER = 32, "a" * 12, "b" * 12
PROJECT = ProjectConfig.model_validate(
    {
        "name": "houses",
        "classes": ["building"],
        "inference": {"window_px": 64, "min_area_m2": 0},
        "evaluation": {"repetitions": 200},
    }
)
OWN_WINDOWS = [
    ("a", 0, 0, "test", "a/0-0"),
    ("a", 64, 64, "test", "a/1-1"),
    ("empty", 0, 0, "test", "empty/0-0"),
    ("a", 128, 0, "val", "a/2-0"),
    ("a", 0, 128, "train", "a/0-2"),
]
OTHER_WINDOWS = [("a", 0, 130, "test", "a/0-2"), ("a", 64, 64, "test", "a/1-1")]


def trained(workspace, red_from):
    """Log a run whose network calls a pixel a roof when its red is at least `red_from`; returns its id."""
    from satseg.models.keras.runtime import keras
    from satseg.tracking.runs import tracked_run

    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    network.layers[0].set_weights([np.array([[[[1.0], [0], [0]]]]), np.array([0.5 - red_from])])
    description = describe(project="houses", architecture="conv", patch_px=SIZE, patch_set=OWN)
    folder = workspace.root / "tiny"
    folder.mkdir()
    network.save(folder / "model.keras")
    (folder / "model.json").write_text(description.model_dump_json())
    tags = {"satseg.patch_set": OWN, "satseg.dataset_version": "v1"}
    with tracked_run(workspace, "houses", name="tiny", tags=tags, params={}) as run:
        run.log_model_files(folder, description.model_dump(mode="json"), np.zeros((1, SIZE, SIZE, 3), np.uint8))
    return run.id


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_dataset):
    """A workspace with two scenes, two patch sets and a model, measured on both."""
    workspace = Workspace(tmp_path_factory.mktemp("evaluated") / "workspace")
    dataset, random = make_dataset(workspace), np.random.default_rng(3)
    scene = random.integers(0, 256, (200, 200, 3)).astype(np.uint8)
    dataset.add("a", scene)
    dataset.add("empty", scene[:64, :64], crs=None)
    dataset.tag("v1")
    labels = (scene[..., 0].astype(int) + random.integers(-60, 60, (200, 200)) > 128).astype(np.uint8)

    def cut(windows):
        found = [labels[row : row + SIZE, col : col + SIZE] for _, row, col, *_ in windows]
        return np.stack([mask * (one[0] != "empty") for one, mask in zip(windows, found, strict=True)])

    dataset.patch_set(OWN, OWN_WINDOWS, masks=cut(OWN_WINDOWS))
    dataset.patch_set(OTHER, OTHER_WINDOWS, masks=cut(OTHER_WINDOWS))
    run_id = trained(workspace, 128)
    result = evaluate.run(EvaluateSpec(project=PROJECT, model=run_id), workspace)
    return workspace, run_id, scene, labels, result


def iou_at(scene, labels, *places):
    guess, truth = scene[..., 0] >= 128, labels > 0
    tiles = [np.s_[row : row + SIZE, col : col + SIZE] for row, col in places]
    return sum((guess & truth)[t].sum() for t in tiles) / sum((guess | truth)[t].sum() for t in tiles)


def test_scores_are_those_of_the_map(world):
    _, run_id, scene, labels, result = world
    assert result.run_id == run_id
    assert result.per_scene["a"].iou == pytest.approx(iou_at(scene, labels, (0, 0), (64, 64)))
    assert result.per_scene["empty"].iou is None
    assert result.per_scene["empty"].predicted_pixels == (scene[:SIZE, :SIZE, 0] >= 128).sum()
    assert (result.windows, result.blocks, result.excluded_windows) == (3, 3, 0)
    assert 0 < result.best_threshold < 1
    assert "only 3 test blocks" in " ".join(result.warnings)


def test_files_are_in_the_workspace_and_in_mlflow(world):
    from satseg.tracking.runs import get_run

    workspace, run_id, _, _, result = world
    folder = workspace.evaluation("houses", run_id) / OWN
    names = {"report.json", "report.html", "blocks.parquet", "samples.png", "scene-a.png", "scene-empty.png"}
    assert {path.name for path in folder.iterdir()} == names
    record = get_run(workspace, run_id)
    assert record.metrics["test/boundary_iou"] == pytest.approx(result.boundary_iou)
    stored = next(workspace.root.glob(f"mlflow/**/evaluation/{OWN}"))
    assert {path.name for path in stored.iterdir()} == names
    assert json.loads((stored / "report.json").read_text())["result"]["iou"] == pytest.approx(result.iou)
    blocks = read_blocks(workspace, "houses", run_id, OWN)
    assert blocks["block"].unique().tolist() == ["a/0-0", "a/1-1", "empty/0-0"]
    assert str(folder / "report.html") == result.page


def test_ground_the_model_was_trained_on_is_not_scored(world):
    workspace, run_id, scene, labels, _ = world
    result = evaluate.run(EvaluateSpec(project=PROJECT, model=run_id, patch_set=OTHER), workspace)
    assert (result.windows, result.excluded_windows) == (1, 1)
    assert "1 of 2 test windows were left out" in " ".join(result.warnings)
    assert result.iou == pytest.approx(iou_at(scene, labels, (64, 64)))
    assert read_blocks(workspace, "houses", run_id, OTHER)["block"].unique().tolist() == ["a/1-1"]


def test_measuring_that_is_cut_short_leaves_the_earlier_report(world, monkeypatch):
    workspace, run_id, *_ = world
    before = read_report(workspace, "houses", run_id, OWN)
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "write_page", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            evaluate.run(EvaluateSpec(project=PROJECT, model=run_id, force=True), workspace)
    assert read_report(workspace, "houses", run_id, OWN) == before
    asked = []
    monkeypatch.setattr(evaluate, "load", lambda *args: asked.append(args))
    assert evaluate.run(EvaluateSpec(project=PROJECT, model=run_id), workspace) == before.result
    assert asked == []


def test_patch_set_of_other_bands_is_refused(world, monkeypatch):
    workspace, run_id, *_ = world
    monkeypatch.setattr(evaluate, "misfit", lambda description, patch_set: "the model has bands ('x',)")
    with pytest.raises(BadDataError, match=r"cannot be measured: the model has bands"):
        evaluate.run(EvaluateSpec(project=PROJECT, model=run_id, force=True), workspace)
