"""Pixels on the ground: metres per pixel, and where one scene's rectangles lie in another scene's pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer

from satseg.config.patches import PatchConfig
from satseg.datasets.catalog import SceneRecord
from satseg.patches.windows import Margin, Rects, no_rects

WGS84 = "EPSG:4326"
ROUNDING = 1e-6  # of a pixel: what coordinate transforms may be off by


@dataclass(frozen=True)
class SceneGround:
    """How a scene's pixels lie on the ground; without a CRS a scene is an island of its own."""

    scene: str
    height: int
    width: int
    crs: str | None
    transform: Affine

    def corners(self, rects: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
        """Return the corners of pixel rectangles (N, 4) in `crs`, (N, 4, 2) as x, y."""
        cols, rows = rects[:, [1, 3, 3, 1]].astype(float), rects[:, [0, 0, 2, 2]].astype(float)
        x, y = self.transform @ (cols, rows)
        x, y = _transformer(str(self.crs), crs).transform(x, y)
        return np.stack([x, y], axis=-1)

    def pixels(self, points: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
        """Return points (..., 2) given in `crs` in this scene's pixels, (..., 2) as column, row."""
        x, y = _transformer(crs, str(self.crs)).transform(points[..., 0], points[..., 1])
        cols, rows = ~self.transform @ (x, y)
        return np.stack([cols, rows], axis=-1)

    def metres_per_pixel(self) -> tuple[float, float]:
        """Return the ground size of the centre pixel down and across, in metres on the WGS 84 ellipsoid."""
        row, col, span = self.height / 2, self.width / 2, 100.0  # many pixels, to stay clear of rounding
        rect = np.array([[row, col, row + span, col + span]])
        corner = self.corners(rect, WGS84)[0]
        geod = Geod(ellps="WGS84")
        across = geod.inv(*corner[0], *corner[1])[2] / span
        down = geod.inv(*corner[0], *corner[3])[2] / span
        return float(down), float(across)

    def margin(self, config: PatchConfig) -> Margin:
        """Return the buffer in whole pixels, rounded up: metres with a CRS, pixels without."""
        if self.crs is None:
            return Margin(config.buffer_px, config.buffer_px)
        down, across = self.metres_per_pixel()
        return Margin(math.ceil(config.buffer_m / down - ROUNDING), math.ceil(config.buffer_m / across - ROUNDING))

    def outlines(self, rects: NDArray[np.float64], other: "SceneGround") -> NDArray[np.object_]:
        """Return rectangles of this scene as shapely polygons in the pixels (x = column, y = row) of `other`."""
        if other is self:
            boxes: NDArray[np.object_] = shapely.box(rects[:, 1], rects[:, 0], rects[:, 3], rects[:, 2])
            return boxes
        corners = self.corners(rects, str(self.crs))
        polygons: NDArray[np.object_] = shapely.polygons(other.pixels(corners, str(self.crs)))
        return polygons


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def ground_of(record: SceneRecord) -> SceneGround:
    """Return where a scene of the dataset lies."""
    return SceneGround(record.id, record.height, record.width, record.crs, Affine(*record.transform))


def bounding_rects(rects: Rects, source: SceneGround, target: SceneGround, margin: Margin) -> Rects:
    """Return bounds of another scene's rectangles in the target's pixels, only those within the margin of it.

    Bounds are rounded outward, so that a distance to them is never larger than the true one.
    """
    if not len(rects) or source.crs is None or target.crs is None:
        return no_rects()
    corners = source.corners(rects.astype(float), source.crs)
    pixels = target.pixels(corners, source.crs)
    pixels = pixels[np.isfinite(pixels).all(axis=(1, 2))]  # the others are beyond the target's projection: far away
    if not len(pixels):
        return no_rects()
    low, high = np.floor(pixels.min(axis=1) + ROUNDING), np.ceil(pixels.max(axis=1) - ROUNDING)
    bounds = np.stack([low[:, 1], low[:, 0], high[:, 1], high[:, 0]], axis=1).astype(np.int64)
    near = (bounds[:, 0] < target.height + margin.rows) & (bounds[:, 2] > -margin.rows)
    near &= (bounds[:, 1] < target.width + margin.cols) & (bounds[:, 3] > -margin.cols)
    found: Rects = bounds[near]
    return found


def may_meet(a: SceneRecord, b: SceneRecord, buffer_m: float) -> bool:
    """Whether two scenes can lie within the buffer of each other, by their bounds in longitude and latitude."""
    if a.footprint_wgs84 is None or b.footprint_wgs84 is None or a.crs is None or b.crs is None:
        return False
    a_box, b_box = a.footprint_wgs84, b.footprint_wgs84
    latitude = max(abs(value) for value in (a_box[1], a_box[3], b_box[1], b_box[3]))
    # bounds of a warped rectangle can cut off the bulge of its edges: be generous, this only saves work
    reach_lat = (buffer_m + 1000.0) / 111_000.0
    reach_lon = reach_lat / max(math.cos(math.radians(min(latitude, 89.0))), 0.01)
    turns = (-360, 0, 360)  # either side of the antimeridian
    return (
        any(a_box[0] - reach_lon <= b_box[2] + turn and b_box[0] + turn - reach_lon <= a_box[2] for turn in turns)
        and a_box[1] - reach_lat <= b_box[3]
        and b_box[1] - reach_lat <= a_box[3]
    )


def overlap_shares(polygons: Sequence[shapely.Polygon], others: Sequence[shapely.Polygon]) -> NDArray[np.float64]:
    """Return the part of each polygon that all `others` together cover (they must not overlap each other)."""
    shares = np.zeros(len(polygons))
    if not others or not polygons:
        return shares
    tree = shapely.STRtree(list(others))
    which, found = tree.query(list(polygons), predicate="intersects")
    areas = shapely.area(shapely.intersection(np.asarray(polygons)[which], np.asarray(others)[found]))
    np.add.at(shares, which, areas)
    covered: NDArray[np.float64] = shares / np.maximum(shapely.area(np.asarray(polygons)), np.finfo(float).tiny)
    return covered
