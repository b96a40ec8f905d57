"""Tiny seeded rasters, made by the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

WriteRaster = Callable[..., Path]


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """(70, 90, 3) uint8, no pixel 0."""
    return np.random.default_rng(0).integers(1, 256, (70, 90, 3), dtype=np.uint8)


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """Write (H, W, C) pixels; keyword arguments go into the profile."""

    def write(name: str, image: NDArray[Any], **profile: Any) -> Path:
        path = tmp_path / name
        height, width, count = image.shape
        settings = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": image.dtype} | profile
        if settings.get("crs") and "transform" not in settings:
            settings["transform"] = Affine(0.5, 0, 500_000, 0, -0.5, 40_000)
        with rasterio.open(path, "w", **settings) as dataset:
            dataset.write(image.transpose(2, 0, 1))
        return path

    return write
