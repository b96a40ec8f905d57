"""From polygons to class-id masks."""

from collections.abc import Iterable

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize as burn

from satseg.annotations.table import AnnotationTable, LabelledPolygon


def rasterize(
    polygons: AnnotationTable | Iterable[LabelledPolygon], transform: Affine, height: int, width: int
) -> NDArray[np.uint8]:
    """Burn polygons into a mask: a pixel takes the class of the last polygon that holds its centre.

    Args:
        polygons: annotations in the coordinates `transform` maps to.
        transform: affine transform of the window (column, row) → coordinates.
        height: rows.
        width: columns.

    Returns:
        (H, W) uint8 class ids, 0 is background.
    """
    shapes = [(polygon.geometry, polygon.class_id) for polygon in polygons if not polygon.geometry.is_empty]
    if not shapes:
        return np.zeros((height, width), dtype=np.uint8)
    mask: NDArray[np.uint8] = burn(shapes, out_shape=(height, width), transform=transform, fill=0, dtype="uint8")
    return mask


def window_transform(transform: Affine, row: int, col: int) -> Affine:
    """Return the affine transform of the window that starts at (row, col) of a scene with `transform`."""
    return transform @ Affine.translation(col, row)


class PolygonIndex:
    """A table behind a spatial index: rasterising a window touches only the polygons that meet it."""

    def __init__(self, table: AnnotationTable) -> None:
        self._polygons = tuple(table)
        self._tree = shapely.STRtree([polygon.geometry for polygon in self._polygons])

    def within(self, transform: Affine, height: int, width: int) -> list[LabelledPolygon]:
        """Return the polygons whose bounds meet the window, in drawing order."""
        corners = [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
        window = shapely.MultiPoint(corners).envelope
        return [self._polygons[i] for i in sorted(self._tree.query(window))]

    def rasterize(self, transform: Affine, height: int, width: int) -> NDArray[np.uint8]:
        """Do what `rasterize` does, for a window of (height, width) pixels whose transform is `transform`."""
        return rasterize(self.within(transform, height, width), transform, height, width)
