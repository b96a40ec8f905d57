"""Replay of old data: what is new to a starting model, and how often it is drawn."""

import json

import numpy as np
import pandas as pd
import pytest

from model_descriptions import describe
from satseg.datasets.repository import GitRepository
from satseg.models.draws import draw_order
from satseg.models.interface import ModelDescription
from satseg.patches.patchset import PATCHSET_FILE, open_patch_set
from satseg.storage.layout import Workspace
from satseg.training.replay import new_scenes, replay_weights


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_draws_come_in_the_wanted_shares(share: float) -> None:
    windows = pd.DataFrame({"scene": ["old"] * 40 + ["new"] * 4, "draw_weight": [1, 3] * 22})
    weights = replay_weights(windows, {"new"}, share)
    order = draw_order(weights, 0, int(weights.sum()) * 3, seed=1)
    assert np.mean(order >= 40) == pytest.approx(share, abs=0.05)
    assert (weights >= windows["draw_weight"]).all()
    # positives keep their place beside negatives of the same side
    assert weights[1] == 3 * weights[0] and weights[41] == 3 * weights[40]


def test_few_old_windows_are_replayed_more_often() -> None:
    windows = pd.DataFrame({"scene": ["old"] * 2 + ["new"] * 20, "draw_weight": 1})
    assert replay_weights(windows, {"new"}, 0.5).tolist() == [10, 10] + [1] * 20


@pytest.mark.parametrize("new", [set(), {"old", "new"}])
def test_one_side_alone_is_drawn_as_the_manifest_says(new: set[str]) -> None:
    windows = pd.DataFrame({"scene": ["old", "new"], "draw_weight": [1, 6]})
    assert replay_weights(windows, new, 0.5).tolist() == [1, 6]


@pytest.fixture
def dataset(workspace: Workspace) -> Workspace:
    """v1 holds `s` and `t`; v2 changes the labels of `t` and adds `u`."""
    repository = GitRepository(workspace.data)
    workspace.data.mkdir(parents=True)
    repository.initialise()
    items = workspace.dataset("tiny") / "items"
    items.mkdir(parents=True)
    for version, scenes in (("v1", {"s": None, "t": None}), ("v2", {"s": None, "t": "labels", "u": "labels"})):
        for scene, labels in scenes.items():
            item = {"id": scene, "properties": {"satseg:checksum": scene, "satseg:annotation_checksum": labels}}
            (items / f"{scene}.json").write_text(json.dumps(item))
        repository.commit(["tiny/items"], version)
        repository.tag(f"tiny/{version}", version)
    return workspace


def described(project: str = "tiny", version: str = "v1") -> ModelDescription:
    return describe(
        project=project,
        backbone="resnet18",
        bands=("a",),
        gsd_m=None,
        mean=(0.0,),
        std=(1.0,),
        dataset_version=version,
        patch_set="x",
    )


def test_new_are_scenes_with_other_pixels_or_other_labels(dataset: Workspace) -> None:
    from patch_sets import write_tiny_patch_set

    name = write_tiny_patch_set(dataset)
    path = dataset.patch_set("tiny", name) / PATCHSET_FILE
    about = json.loads(path.read_text()) | {"dataset_version": "v2", "scenes": {"s": {}, "t": {}, "u": {}}}
    path.write_text(json.dumps(about))
    patch_set = open_patch_set(dataset, "tiny", name)
    assert new_scenes(dataset, patch_set, described()) == {"t", "u"}
    assert new_scenes(dataset, patch_set, described(version="v2")) == frozenset()
    assert new_scenes(dataset, patch_set, described(version="v9")) is None
    assert new_scenes(dataset, patch_set, described(project="other")) is None
