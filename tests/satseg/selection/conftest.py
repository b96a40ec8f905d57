"""A dataset of scenes and a model that calls bright pixels buildings and embeds what it sees by its bands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from model_descriptions import describe
from satseg.config.project import ProjectConfig
from satseg.inference.chosen_model import ChosenModel
from satseg.models.interface import ModelDescription
from satseg.selection import select
from satseg.stages import IngestResult, IngestSpec
from satseg.storage.layout import Workspace

PLACE = Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)
DropScene = Callable[..., Path]


class BandSegmenter:
    """Probability is the red band over 255; the embedding is the mean and deviation of each band."""

    def __init__(self, description: ModelDescription) -> None:
        self.description = description

    def predict_and_embed(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (N, H, W, 1) and (N, 2 C)."""
        values = images.astype(np.float32)
        embedding = np.concatenate([values.mean(axis=(1, 2)), values.std(axis=(1, 2))], axis=1)
        return values[..., :1] / 255, embedding


@pytest.fixture
def project() -> ProjectConfig:
    return ProjectConfig.model_validate(
        {
            "name": "roofs",
            "classes": ["building"],
            "gsd_m": 0.5,
            "inference": {"batch_size": 3, "min_area_m2": 2, "simplify_m": 0.2},
            "selection": {"window_px": 64, "context_px": 16},
        }
    )


@pytest.fixture
def segmenter(project: ProjectConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BandSegmenter:
    """The champion of every workspace in this test."""
    description = describe()
    found = BandSegmenter(description)
    chosen = ChosenModel("v3", "3", "ab" * 16, None, tmp_path, description)
    monkeypatch.setattr(select, "choose_model", lambda *arguments: chosen)
    monkeypatch.setattr(select, "embedding_segmenter", lambda model: found)
    return found


@pytest.fixture
def drop(tmp_path: Path) -> DropScene:
    """Return a function that writes a scene of (H, W, 3) pixels into tmp_path/drop."""

    def write(name: str, pixels: NDArray[np.uint8], at: int = 0, labels: list[Any] | None = None) -> Path:
        path = tmp_path / "drop" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        height, width, bands = pixels.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "uint8"}
        placed = {"crs": "EPSG:32633", "transform": PLACE @ Affine.translation(1000 * at, 0)}
        with rasterio.open(path, "w", **profile, **placed) as target:
            target.write(pixels.transpose(2, 0, 1))
        if labels is not None:
            tree = {"imageHeight": height, "imageWidth": width, "shapes": labels}
            path.with_suffix(".json").write_text(json.dumps(tree))
        return path

    return write


@pytest.fixture
def ingest(workspace: Workspace, project: ProjectConfig, tmp_path: Path) -> Callable[..., IngestResult]:
    """Run the stage in this process, on tmp_path/drop or another folder."""
    from satseg.datasets.ingest import run

    def call(source: Path | None = tmp_path / "drop", what: ProjectConfig = project) -> IngestResult:
        return run(IngestSpec(project=what, source=source), workspace)

    return call


@pytest.fixture
def town() -> NDArray[np.uint8]:
    """128 × 192 pixels: dark ground; one window (row 0, column 64) is doubtful, one (row 64, column 128) has a roof."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3, (128, 192, 3)).astype(np.uint8)
    pixels[4:60, 70:120] = 120
    pixels[80:110, 140:170] = 240
    return pixels
