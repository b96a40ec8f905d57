"""Held-out windows shown to a model under simulated changes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.drift import trials
from satseg.drift.estimate import Estimator, true_counts
from satseg.drift.reference import Champion
from satseg.drift.simulated import UNCHANGED
from satseg.evaluation.windows import HeldOut
from satseg.storage.layout import Workspace


class Bright:
    """Bright pixels are roofs."""

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return np.clip((images.astype(np.float32).mean(axis=-1, keepdims=True) - 60) / 100, 0, 1)


@pytest.fixture
def project() -> ProjectConfig:
    return ProjectConfig.model_validate({"name": "town", "classes": ["roof"], "drift": {"patch_px": 32}})


@pytest.fixture
def patch_set() -> Any:
    """Six windows of three scenes; a roof of 16 × 16 pixels in each, and one corner that nobody knows."""
    images = np.random.default_rng(0).integers(30, 90, (6, 64, 64, 3)).astype(np.uint8)
    images[:, 8:24, 8:24] = 170
    masks = np.zeros((6, 64, 64), np.uint8)
    masks[:, 8:24, 8:24] = 1
    masks[:, 60:, 60:] = 255
    return SimpleNamespace(dtype="uint8", size_px=64, images=lambda shard: images, masks=lambda shard: masks)


@pytest.fixture
def windows() -> list[HeldOut]:
    return [HeldOut(n, f"s{n // 2}", 0, 0, 64, f"s{n // 2}/{n}", True, True, 0.0, 0, n) for n in range(6)]


def test_every_change_is_shown_to_the_model_and_its_truth_is_known(project, patch_set, windows) -> None:
    made = trials.make_trials(windows, patch_set, Bright(), project)
    assert {len(trial.views) for trial in made} == {6}  # three scenes are few: blocks are the units
    by_kind = {trial.kind: trial for trial in made}
    (unchanged,) = true_counts(by_kind[UNCHANGED].views[0])
    assert unchanged.sum() == 64 * 64 - 16  # the unknown corner does not count
    assert (unchanged[0], unchanged[2]) == (256, 0)
    (blurred,) = true_counts(by_kind["blur"].views[0])
    assert blurred[0] < 256
    assert blurred[0] + blurred[2] == 256
    found = Estimator(made).estimate(list(by_kind[UNCHANGED].views))
    truth = unchanged[0] / unchanged[:3].sum()
    assert found.value == pytest.approx(truth, abs=0.01)


def test_trials_are_kept_and_a_damaged_file_counts_as_none(project, patch_set, windows, tmp_path: Path) -> None:
    made = trials.make_trials(windows, patch_set, Bright(), project)[:3]
    path = tmp_path / "trials" / "x.npz"
    trials._write(path, made)
    read = trials._read(path)
    assert read is not None
    assert [trial.kind for trial in read] == [trial.kind for trial in made]
    np.testing.assert_array_equal(read[1].views[2].labelled, made[1].views[2].labelled)
    path.write_bytes(path.read_bytes()[:100])
    assert trials._read(path) is None
    assert trials._read(tmp_path / "none.npz") is None


def test_a_champion_without_its_patch_set_has_no_trials(project, workspace: Workspace) -> None:
    assert trials.trials_of(workspace, project, Champion("v1", "v1")) == []
    assert trials.trials_of(workspace, project, Champion("v1", "v1", "gone", "r1")) == []
