"""Pictures of a prediction and its scene for a viewer: tiles of a pyramid in pixel space, or one whole picture.

At zoom z_max a tile's pixel is a pixel of the map, each zoom below halves; at zoom 0 the whole map fits into one tile.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.windows import Window

from satseg.errors import NotFoundError
from satseg.inference.encoding import decode
from satseg.inference.item import CLASSES_FILE, PROBABILITY_FILE
from satseg.inference.palette import PREDICTION, colour_table
from satseg.scenes.source import open_source

TILE_PX = 256
LAYERS = ("scene", "classes", "probability")
Layer = Literal["scene", "classes", "probability"]
_STRETCH_PERCENTILES = (1, 99)
_STRETCH_PX = 512


@dataclass(frozen=True)
class View:
    """A window of a map and the size it is drawn at."""

    window: Window
    height: int
    width: int


@dataclass(frozen=True)
class Stretch:
    """Which bands are shown as red, green and blue (or one as grey), and which values are black and white."""

    bands: tuple[int, ...]
    low: float
    high: float


def max_zoom(height: int, width: int) -> int:
    """Return the zoom at which a map has its own resolution."""
    return max(0, math.ceil(math.log2(max(height, width, 1) / TILE_PX)))


def tile_view(height: int, width: int, z: int, x: int, y: int) -> View:
    """Return what a tile shows of a map of `height` rows and `width` columns; at the edges less than a whole tile.

    Raises:
        NotFoundError: there is no such tile.
    """
    top_zoom = max_zoom(height, width)
    scale = 2.0 ** (top_zoom - z)
    size = TILE_PX * scale
    row, column = y * size, x * size
    if not 0 <= z <= top_zoom or row >= height or column >= width or min(x, y) < 0:
        raise NotFoundError(f"The map of {width} x {height} pixels has no tile {z}/{x}/{y}.")
    rows, columns = min(size, height - row), min(size, width - column)
    return View(Window(column, row, columns, rows), math.ceil(rows / scale), math.ceil(columns / scale))


def whole_view(height: int, width: int, max_px: int) -> View:
    """Return the view of a whole map whose longer side is at most `max_px`; it is never enlarged."""
    factor = max(1.0, max(height, width) / max_px)
    return View(Window(0, 0, width, height), max(1, round(height / factor)), max(1, round(width / factor)))


def scene_stretch(path: Path, project_bands: Sequence[str]) -> Stretch:
    """Choose how a scene is shown: its bands called red, green and blue, else the first three, else the first.

    Raises:
        BadDataError: the file is damaged.
    """
    names = list(project_bands)
    with open_source(path) as dataset:
        natural = [names.index(name) + 1 for name in ("red", "green", "blue") if name in names]
        if len(natural) < 3 or max(natural) > dataset.count:
            natural = [1, 2, 3] if dataset.count >= 3 and len(names) >= 3 else [1]
        view = whole_view(dataset.height, dataset.width, _STRETCH_PX)
        shape = (view.height, view.width)
        pixels = dataset.read(natural, out_shape=(len(natural), *shape)).astype(np.float32)
        seen = (dataset.dataset_mask(out_shape=shape) > 0) & np.isfinite(pixels).all(axis=0)
    values = pixels[:, seen]
    low, high = np.percentile(values, _STRETCH_PERCENTILES) if values.size else (0.0, 1.0)
    return Stretch(tuple(natural), float(low), float(max(high, low + 1e-6)))


def draw_scene(path: Path, stretch: Stretch, view: View) -> NDArray[np.uint8]:
    """Return (H, W, 4) uint8 of a scene; where it has no data it is transparent.

    Raises:
        BadDataError: the file is damaged.
    """
    shape = (view.height, view.width)
    with open_source(path) as dataset:
        pixels = dataset.read(
            list(stretch.bands),
            window=view.window,
            out_shape=(len(stretch.bands), *shape),
            resampling=Resampling.average,
        )
        valid = dataset.dataset_mask(window=view.window, out_shape=shape) > 0
    unit = np.nan_to_num((pixels.astype(np.float32) - stretch.low) / (stretch.high - stretch.low)).clip(0, 1)
    drawn = np.zeros((*shape, 4), np.uint8)
    drawn[..., :3] = np.moveaxis(unit * 255, 0, -1)
    drawn[..., 3] = valid * 255
    return drawn


def draw_prediction(folder: Path, layer: Layer, classes: int, view: View) -> NDArray[np.uint8]:
    """Return (H, W, 4) uint8 of a prediction's classes in their colours, or its probability as opacity.

    Raises:
        BadDataError: the file is damaged.
    """
    shape = (view.height, view.width)
    if layer == "classes":
        with open_source(folder / CLASSES_FILE) as dataset:
            ids = dataset.read(1, window=view.window, out_shape=shape, resampling=Resampling.nearest)
        table = np.zeros((256, 4), np.uint8)
        for class_id, colour in colour_table(classes).items():
            table[class_id] = colour if class_id else (0, 0, 0, 0)
        coloured: NDArray[np.uint8] = table[ids]
        return coloured
    with open_source(folder / PROBABILITY_FILE) as dataset:
        wanted = (dataset.count, *shape)
        stored = dataset.read(window=view.window, out_shape=wanted, masked=True)
    drawn = np.zeros((*shape, 4), np.uint8)
    drawn[..., :3] = PREDICTION
    drawn[..., 3] = np.nan_to_num(decode(stored.filled(0)).max(axis=0)).clip(0, 1) * 255
    return drawn


def png(drawn: NDArray[Any], tile: bool = False) -> bytes:
    """Return a picture as PNG; a tile at the edge is filled up with transparent pixels."""
    picture = Image.fromarray(drawn)
    if tile and picture.size != (TILE_PX, TILE_PX):
        full = Image.new("RGBA", (TILE_PX, TILE_PX))
        full.paste(picture)
        picture = full
    written = io.BytesIO()
    picture.save(written, "PNG", compress_level=1)
    return written.getvalue()
