"""Tiny seeded scenes and a stand-in model that calls bright pixels buildings."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from model_descriptions import describe
from satseg.config.project import ProjectConfig
from satseg.inference import predict
from satseg.inference.chosen_model import ChosenModel
from satseg.models.interface import ModelDescription

SceneWriter = Callable[..., Path]
UTM = Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)


class BrightnessSegmenter:
    """One class: probability is the mean of the bands over 255, so a pixel above 127 is a building."""

    def __init__(self, description: ModelDescription) -> None:
        self.description = description
        self.calls = 0

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return (N, H, W, 1)."""
        self.calls += 1
        return (images.astype(np.float32).mean(axis=-1, keepdims=True) / 255).astype(np.float32)


@pytest.fixture
def description() -> ModelDescription:
    return describe(dataset_version="v2")


@pytest.fixture
def segmenter(description: ModelDescription) -> BrightnessSegmenter:
    return BrightnessSegmenter(description)


@pytest.fixture
def model(
    segmenter: BrightnessSegmenter, description: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ChosenModel:
    """The champion, version 3, of every workspace in this test."""
    chosen = ChosenModel("v3", "3", "ab" * 16, "c0ffee", tmp_path, description)
    chosen.__dict__["segmenter"] = segmenter  # what the cached property would load
    monkeypatch.setattr(predict, "choose_model", lambda *arguments: chosen)
    return chosen


@pytest.fixture
def project() -> ProjectConfig:
    return ProjectConfig.model_validate(
        {
            "name": "roofs",
            "classes": ["building"],
            "gsd_m": 0.5,
            "inference": {"window_px": 64, "overlap": 0.5, "batch_size": 3, "min_area_m2": 2, "simplify_m": 0.2},
        }
    )


@pytest.fixture
def write_scene(tmp_path: Path) -> SceneWriter:
    """Return a function that writes a dark scene with bright rectangles (top, left, bottom, right in pixels)."""

    def write(  # noqa: PLR0917
        name: str = "town.tif",
        rectangles: tuple[tuple[int, int, int, int], ...] = ((20, 30, 60, 90), (100, 10, 130, 40)),
        size: tuple[int, int] = (150, 170),
        crs: str | None = "EPSG:32633",
        transform: Affine = UTM,
        bands: int = 3,
        mask: NDArray[np.bool_] | None = None,
        **profile: Any,
    ) -> Path:
        pixels = np.full((bands, *size), 40, profile.get("dtype", "uint8"))
        for top, left, bottom, right in rectangles:
            pixels[:, top:bottom, left:right] = 220
        path = tmp_path / name
        placed = {"crs": crs, "transform": transform} if crs else {}
        options = {"driver": "GTiff", "dtype": "uint8", "height": size[0], "width": size[1], "count": bands}
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
            rasterio.open(path, "w", **(options | placed | profile)) as dataset,
        ):
            dataset.write(pixels)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return write
