"""Pictures of a scene with outlines drawn over it: predictions, and labels where there are some."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from satseg.annotations.table import AnnotationTable
from satseg.inference.geojson import read_objects
from satseg.inference.palette import LABEL, PREDICTION
from satseg.scenes.source import open_source, read_header
from satseg.storage.atomic import replacing_file

Colour = tuple[int, int, int]

# outlines are drawn at a multiple of the size and shrunk, which smooths them
_OVERSAMPLING = 2
_FILL_OPACITY = 0.25
_STRETCH_PERCENTILES = (1, 99)


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
    if polygons_geojson is not None:
        outlines = (polygons for polygons, _ in read_objects(polygons_geojson))
        picture = _drawn(picture, outlines, to_picture, PREDICTION, _FILL_OPACITY)
    if labels_table is not None:
        labels = [np.array([polygon.geometry for polygon in labels_table], object)]
        picture = _drawn(picture, labels, to_picture, LABEL, 0.0)
    with replacing_file(out_png) as temp:
        Image.fromarray(picture).save(temp, compress_level=3)


def _read_picture(path: Path, max_px: int) -> tuple[NDArray[np.uint8], Affine]:
    """Read a scene shrunk to `max_px`, and the transform from its coordinates to the picture's pixels."""
    header = read_header(path)
    with open_source(path) as dataset:
        factor = max(1.0, max(dataset.height, dataset.width) / max_px)
        height, width = max(1, round(dataset.height / factor)), max(1, round(dataset.width / factor))
        bands = list(header.bands[:3] if len(header.bands) >= 3 else header.bands[:1])
        pixels = dataset.read(bands, out_shape=(len(bands), height, width), resampling=Resampling.average)
        valid = dataset.dataset_mask(out_shape=(height, width)) > 0
    shrink = Affine.scale(width / header.grid.width, height / header.grid.height)
    return stretched(np.moveaxis(pixels, 0, -1), valid), shrink @ ~header.grid.transform


def stretched(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Stretch (H, W, 1 or 3) of any dtype to (H, W, 3) uint8, all bands alike so that colours stay."""
    values = pixels.astype(np.float32)
    seen = values[valid & np.isfinite(values).all(axis=-1)]
    low, high = np.percentile(seen, _STRETCH_PERCENTILES) if seen.size else (0.0, 1.0)
    unit = np.nan_to_num((values - low) / max(high - low, 1e-6)).clip(0, 1) * valid[..., None]
    picture: NDArray[np.uint8] = np.broadcast_to(unit * 255, (*unit.shape[:2], 3)).astype(np.uint8)
    return picture


def _drawn(
    picture: NDArray[np.uint8],
    geometries: Iterable[NDArray[np.object_]],
    to_picture: Affine,
    colour: Colour,
    opacity: float,
) -> NDArray[np.uint8]:
    a, b, c, d, e, f = (Affine.scale(_OVERSAMPLING) @ to_picture)[:6]
    height, width = picture.shape[:2]
    inside, outlines = np.zeros((2, _OVERSAMPLING * height, _OVERSAMPLING * width), np.uint8)
    for some in geometries:
        moved = shapely.transform(some, lambda xy: xy @ np.array([[a, d], [b, e]]) + np.array([c, f]))
        for polygon in shapely.get_parts(moved):
            # pixels are numbered by their corners, so that pixel 3 is at 3 to 4
            rings = [np.floor(shapely.get_coordinates(ring)).astype(np.int32) for ring in shapely.get_rings(polygon)]
            if opacity:  # holes stay as they are, and what stands in them is kept
                cv2.fillPoly(inside, rings, round(255 * opacity))
            cv2.polylines(outlines, rings, True, 255)
    outlines = cv2.dilate(outlines, np.ones((_OVERSAMPLING + 1, _OVERSAMPLING + 1), np.uint8))
    cover = cv2.resize(cv2.max(inside, outlines), (width, height), interpolation=cv2.INTER_AREA)
    cover = cover[..., None] / np.float32(255)
    mixed: NDArray[np.uint8] = ((1 - cover) * picture + cover * np.array(colour, np.float32)).astype(np.uint8)
    return mixed
