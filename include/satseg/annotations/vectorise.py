"""From class-id pixels to polygons along the pixels' edges, strip by strip.

Burning the polygons on the same grid gives the same pixels again: each vertex is a pixel's corner, half a pixel from
every centre.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import Polygon, shape

from satseg.annotations.labels import Geometries

TILE_PX = 1024
Strip = tuple[int, int, NDArray[np.uint8]]  # first row, first column, (H, W) class ids


@dataclass
class _Pieces:
    """Polygons of single tiles; those at a tile's edge may go on in the next one."""

    polygons: list[Polygon] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)

    def add(self, row: int, col: int, tile: NDArray[np.uint8]) -> None:
        height, width = tile.shape
        for tree, value in shapes(tile, mask=tile > 0, connectivity=4, transform=Affine.translation(col, row)):
            polygon = shape(tree)
            left, top, right, bottom = polygon.bounds
            if left == col or top == row or right == col + width or bottom == row + height:
                self.cut.append(len(self.polygons))
            self.polygons.append(polygon)
            self.ids.append(int(value))


def vectorise(strips: Iterable[Strip]) -> list[tuple[Polygon, int]]:
    """Return the areas of equal class id > 0, connected by edges, with their class ids, in pixel coordinates.

    An area of up to TILE_PX by TILE_PX pixels is one polygon wherever the strips are cut. A larger one stays in
    pieces, so that windows of a huge scene touch small polygons only.

    Args:
        strips: parts that together cover the raster without overlap; only one is held at a time.
    """
    pieces = _Pieces()
    for row, col, strip in strips:
        for top, left, tile in _tiles(strip):
            if tile.any():
                pieces.add(row + top, col + left, tile)
    return _joined(pieces)


def _tiles(strip: NDArray[np.uint8]) -> Iterator[Strip]:
    for top in range(0, strip.shape[0], TILE_PX):
        for left in range(0, strip.shape[1], TILE_PX):
            yield top, left, np.ascontiguousarray(strip[top : top + TILE_PX, left : left + TILE_PX])


def _joined(pieces: _Pieces) -> list[tuple[Polygon, int]]:
    """Join the pieces of areas that tile edges cut, where the whole is no larger than a tile."""
    whole: list[Polygon | None] = list(pieces.polygons)
    for group in _groups(pieces):
        parts = [pieces.polygons[i] for i in group]
        left, top, right, bottom = shapely.total_bounds(parts)
        if right - left <= TILE_PX and bottom - top <= TILE_PX:
            whole[group[0]] = shapely.union_all(parts)
            for i in group[1:]:
                whole[i] = None
    return [(polygon, value) for polygon, value in zip(whole, pieces.ids, strict=True) if polygon is not None]


def _groups(pieces: _Pieces) -> list[list[int]]:
    """Return the numbers of pieces that hang together over tile edges, groups of two or more."""
    if not pieces.cut:
        return []
    polygons: Geometries = np.empty(len(pieces.cut), dtype=object)
    polygons[:] = [pieces.polygons[i] for i in pieces.cut]
    ids = np.array([pieces.ids[i] for i in pieces.cut])
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = (first < second) & (ids[first] == ids[second])
    first, second = first[pairs], second[pairs]
    edges = shapely.length(shapely.intersection(polygons[first], polygons[second])) > 0  # a corner does not connect
    first, second = first[edges], second[edges]
    links: Any = coo_array((np.ones(len(first)), (first, second)), shape=(len(polygons), len(polygons)))
    _, group = connected_components(links, directed=False)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return [[pieces.cut[i] for i in members] for members in np.split(order, cuts) if len(members) > 1]
