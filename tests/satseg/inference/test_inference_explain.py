"""Where a model looks and where it is unsure, over scenes and windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

from satseg.config.project import ProjectConfig
from satseg.errors import ConfigurationError
from satseg.inference import explain
from satseg.inference.chosen_model import ChosenModel
from satseg.inference.explanation import BANDS, explaining
from satseg.models.interface import ModelDescription
from satseg.models.uncertainty import pixel_entropy
from satseg.stages import ExplainSpec
from satseg.storage.layout import Workspace


class Looking:
    """Calls bright pixels buildings and looks at the red band; a biased one is surer towards the right."""

    def __init__(self, description: ModelDescription, bias: float = 0.0) -> None:
        self.description, self._bias = description, bias

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        slope = self._bias * np.linspace(0, 1, images.shape[2])[None, None, :, None]
        found = images.astype(np.float32).mean(axis=-1, keepdims=True) / 255
        return np.clip(found + slope, 0, 1).astype(np.float32)

    def explain(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.predict(images), images[..., 0].astype(np.float32) / 255


@pytest.fixture
def champion(
    description: ModelDescription, segmenter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ChosenModel:
    chosen = ChosenModel("v3", "3", "ab" * 16, None, tmp_path, description)
    monkeypatch.setattr(explain, "choose_model", lambda *arguments: chosen)
    monkeypatch.setattr(explain, "load_explainer", lambda *arguments: Looking(description))
    return chosen


def test_views_that_agree_leave_only_the_models_own_doubt(description: ModelDescription) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    values = explaining(Looking(description), "all", 1)(images)
    chances = images.astype(np.float32).mean(axis=-1, keepdims=True) / 255
    np.testing.assert_allclose(values[..., 0], chances[..., 0], atol=1e-6)
    np.testing.assert_allclose(values[..., 1], images[..., 0] / 255, atol=1e-6)
    np.testing.assert_allclose(values[..., 2], pixel_entropy(chances), atol=1e-5)
    assert values[..., 3].max() < 1e-5


def test_views_that_disagree_are_told_apart_from_doubt(description: ModelDescription) -> None:
    images = np.zeros((1, 64, 64, 3), np.uint8)
    values = explaining(Looking(description, bias=1.0), "flips", 1)(images)
    slope = np.linspace(0, 1, 64, dtype=np.float32)[:, None]
    mean_of_two = (pixel_entropy(slope) + pixel_entropy(1 - slope)) / 2
    np.testing.assert_allclose(values[0, 5, :, 0], 0.5, atol=1e-5)
    np.testing.assert_allclose(values[0, 5, :, 3], 1 - mean_of_two, atol=1e-4)


def test_a_scene_gets_a_raster_on_its_ground_and_a_picture(
    champion: ChosenModel, project: ProjectConfig, workspace: Workspace, write_scene: Callable[..., Path]
) -> None:
    mask = np.ones((150, 170), bool)
    mask[:20, :10] = False
    spec = ExplainSpec(project=project, scene=str(write_scene(mask=mask)))
    found = explain.run(spec, workspace)
    with rasterio.open(found.raster) as raster:
        assert (raster.shape, raster.crs.to_epsg(), raster.transform.c) == ((150, 170), 32633, 450_000)
        assert raster.descriptions == BANDS
        bands = raster.read()
    assert np.isnan(bands[:, :20, :10]).all()
    np.testing.assert_allclose(bands[:2, 40, 60], 220 / 255, atol=1e-4)
    np.testing.assert_allclose(bands[2, 40, 60], pixel_entropy(np.array([220 / 255], np.float32)), atol=1e-3)
    assert found.class_fraction == pytest.approx((40 * 60 + 30 * 30) / mask.sum(), abs=1e-4)
    assert Image.open(found.picture).size[0] > 5 * 256
    before = Path(found.raster).stat().st_mtime_ns
    again = explain.run(spec, workspace)
    assert (again.changed, again.mean_entropy) == (False, found.mean_entropy)
    assert Path(found.raster).stat().st_mtime_ns == before


def test_a_window_is_explained_with_what_lies_around_it(
    champion: ChosenModel, project: ProjectConfig, workspace: Workspace, write_scene: Callable[..., Path]
) -> None:
    scene = str(write_scene())
    whole = explain.run(ExplainSpec(project=project, scene=scene), workspace)
    part = explain.run(ExplainSpec(project=project, scene=scene, window=(90, 100, 64)), workspace)
    with rasterio.open(whole.raster) as first, rasterio.open(part.raster) as second:
        assert (second.shape, second.transform.c, second.transform.f) == ((60, 64), 450_050, 4_000_000 - 45)
        np.testing.assert_allclose(second.read(), first.read()[:, 90:, 100:164], atol=1e-5)
    assert whole.raster != part.raster


def test_what_cannot_be_explained_is_said(
    champion: ChosenModel,
    project: ProjectConfig,
    workspace: Workspace,
    write_scene: Callable[..., Path],
    tmp_path: Path,
) -> None:
    scene = str(write_scene())
    with pytest.raises(ConfigurationError, match=r"Window 150,0,8 lies outside.*150 rows"):
        explain.run(ExplainSpec(project=project, scene=scene, window=(150, 0, 8)), workspace)
    with pytest.raises(ConfigurationError, match="knows no class 'road'; it knows building"):
        explain.run(ExplainSpec(project=project, scene=scene, class_name="road"), workspace)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="no explanation: it will not be replaced"):
        explain.run(ExplainSpec(project=project, scene=scene, out=tmp_path / "mine"), workspace)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
