"""Pictures of a scene with outlines drawn over it: predictions, and labels where there are some."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.features import rasterize
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from satseg.annotations.table import AnnotationTable
from satseg.inference.palette import LABEL, PREDICTION
from satseg.inference.polygons import read_features
from satseg.scenes.source import open_source, read_header
from satseg.storage.atomic import replacing_file

Colour = tuple[int, int, int]

# outlines are drawn at a multiple of the size and shrunk, which smooths them
_OVERSAMPLING = 2
_FILL_OPACITY = 0.25
_STRETCH_PERCENTILES = (1, 99)
_AT_ONCE = 10_000


def draw_overlay(
    scene_path: Path,
    polygons_geojson: Path | None,
    labels_table: AnnotationTable | None,
    out_png: Path,
    max_px: int = 1024,
) -> None:
    """Draw predicted polygons (orange, filled) and labels (cyan outlines) over a scene.

    Args:
        scene_path: raster; its bands 1 to 3 are shown as red, green and blue, or band 1 as grey.
        polygons_geojson: polygons in the scene's CRS (pixels without one); None draws none.
        labels_table: annotations of the scene in the same coordinates; None draws none.
        out_png: written atomically.
        max_px: longer side of the picture; the scene is never enlarged.
    """
    picture, to_picture = _read_picture(scene_path, max_px)
    canvas = picture.resize([_OVERSAMPLING * side for side in picture.size], Image.Resampling.BICUBIC)
    to_canvas = Affine.scale(_OVERSAMPLING) @ to_picture
    if polygons_geojson is not None:
        outlines = (shape(feature["geometry"]) for feature in read_features(polygons_geojson))
        canvas = _drawn(canvas, outlines, to_canvas, PREDICTION, _FILL_OPACITY)
    if labels_table is not None:
        canvas = _drawn(canvas, (polygon.geometry for polygon in labels_table), to_canvas, LABEL, 0.0)
    with replacing_file(out_png) as temp:
        canvas.resize(picture.size, Image.Resampling.LANCZOS).save(temp, compress_level=3)


def _read_picture(path: Path, max_px: int) -> tuple[Image.Image, Affine]:
    """Read a scene shrunk to `max_px`, and the transform from its coordinates to the picture's pixels."""
    header = read_header(path)
    with open_source(path) as dataset:
        factor = max(1.0, max(dataset.height, dataset.width) / max_px)
        height, width = max(1, round(dataset.height / factor)), max(1, round(dataset.width / factor))
        bands = list(header.bands[:3] if len(header.bands) >= 3 else header.bands[:1])
        pixels = dataset.read(bands, out_shape=(len(bands), height, width), resampling=Resampling.average)
        valid = dataset.dataset_mask(out_shape=(height, width)) > 0
    shrink = Affine.scale(width / header.grid.width, height / header.grid.height)
    return Image.fromarray(stretched(np.moveaxis(pixels, 0, -1), valid)), shrink @ ~header.grid.transform


def stretched(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Stretch (H, W, 1 or 3) of any dtype to (H, W, 3) uint8, all bands alike so that colours stay."""
    values = pixels.astype(np.float32)
    seen = values[valid & np.isfinite(values).all(axis=-1)]
    low, high = np.percentile(seen, _STRETCH_PERCENTILES) if seen.size else (0.0, 1.0)
    unit = np.nan_to_num((values - low) / max(high - low, 1e-6)).clip(0, 1) * valid[..., None]
    picture: NDArray[np.uint8] = np.broadcast_to(unit * 255, (*unit.shape[:2], 3)).astype(np.uint8)
    return picture


def _drawn(
    canvas: Image.Image, geometries: Iterable[BaseGeometry], to_canvas: Affine, colour: Colour, opacity: float
) -> Image.Image:
    a, b, c, d, e, f = to_canvas[:6]
    size = canvas.height, canvas.width
    inside, outlines = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    remaining = iter(geometries)
    while some := list(islice(remaining, _AT_ONCE)):
        moved = shapely.transform(some, lambda xy: xy @ np.array([[a, d], [b, e]]) + np.array([c, f]))
        if opacity:
            inside |= rasterize(moved, size, dtype="uint8")  # holes stay as they are, and what stands in them is kept
        outlines |= rasterize(shapely.boundary(moved), size, all_touched=True, dtype="uint8")
    outlines = cv2.dilate(outlines, np.ones((_OVERSAMPLING + 1, _OVERSAMPLING + 1), np.uint8))
    cover = np.maximum(inside * np.float32(opacity), outlines.astype(np.float32))[..., None]
    mixed = (1 - cover) * np.asarray(canvas) + cover * np.array(colour, np.float32)
    return Image.fromarray(mixed.astype(np.uint8))
