"""What the tests of this folder drop: tiny seeded scenes of 96 px and label files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

SIZE = 96
HOUSE = [[10, 10], [40, 10], [40, 40], [10, 40]]
BOW_TIE = [[10, 10], [40, 40], [40, 10], [10, 40]]


def write_scene(path: Path, seed: int = 0, bands: int = 3, **profile: Any) -> Path:
    """Write a seeded raster; scenes of different seeds lie side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "driver": "GTiff",
        "width": SIZE,
        "height": SIZE,
        "count": bands,
        "dtype": "uint8",
        "crs": "EPSG:32636",
        "transform": Affine(0.5, 0, 500_000 + 100 * seed, 0, -0.5, 40_000),
    } | profile
    high = 255 if np.dtype(settings["dtype"]).kind in "ui" else 1
    pixels = np.random.default_rng(seed).random((settings["count"], settings["height"], settings["width"])) * high
    with rasterio.open(path, "w", **{key: value for key, value in settings.items() if value is not None}) as dataset:
        dataset.write(pixels.astype(settings["dtype"]))
    return path


def write_labels(path: Path, *polygons: list[list[float]], label: str = "building", size: int = SIZE) -> Path:
    """Write a LabelMe file."""
    shapes = [{"label": label, "points": points, "shape_type": "polygon"} for points in polygons]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "5.5.0", "shapes": shapes, "imageWidth": size, "imageHeight": size}))
    return path
