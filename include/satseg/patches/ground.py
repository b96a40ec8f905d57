"""Pixels on the ground: metres per pixel, and where one scene's rectangles lie in another scene's pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from satseg.config.patches import PatchConfig
from satseg.datasets.catalog import SceneRecord
from satseg.patches.windows import Margin, Rects, no_rects

WGS84 = "EPSG:4326"
WEB_MERCATOR = 3857
ROUNDING = 1e-6  # of a pixel: what coordinate transforms may be off by
PROBES = np.linspace(0, 1, 5)  # along each side of a scene, where its pixels are measured
SPAN_PX = 10.0  # over which they are: more than one, to stay clear of rounding
MOST_MARGIN = 10**9  # pixels; keeps sums of pixels within int64
EQUATOR_M = 2 * math.pi * 6_378_137.0  # once around in Web Mercator
ELLIPSOID = Geod(ellps="WGS84")


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
        if around := _once_around(str(self.crs)):  # across the 180th meridian the same place has another x
            middle, _ = self.transform @ (self.width / 2, self.height / 2)
            x = x - around * np.round((x - middle) / around)
        cols, rows = ~self.transform @ (x, y)
        return np.stack([cols, rows], axis=-1)

    def metres(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return at pixels (N, 2), column and row, the steps of a column and of a row in metres east and north.

        They are measured on the WGS 84 ellipsoid, from the point into the scene; (N, 2, 2), the steps as rows.
        """
        inward = np.where(points < np.array([self.width, self.height]) / 2, SPAN_PX, -SPAN_PX)
        lon, lat = self._lonlat(points)
        steps = []
        for axis in (0, 1):
            step = np.zeros_like(points)
            step[:, axis] = inward[:, axis]
            azimuth, _, metres = ELLIPSOID.inv(lon, lat, *self._lonlat(points + step))
            along = np.array(metres) / inward[:, axis]
            steps.append(np.stack([np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))], axis=-1) * along[:, None])
        return np.stack(steps, axis=1)

    def metres_per_pixel(self) -> tuple[float, float]:
        """Return the least ground distance between pixel rows and between columns anywhere in the scene, in metres.

        In degrees and in Web Mercator it differs over the scene; in a sheared one it is less than a pixel's side.
        """
        cols, rows = (grid.ravel() for grid in np.meshgrid(PROBES, PROBES))
        # at the outermost pixels' centres: on the pole itself a degree has no width
        places = np.stack([0.5 + cols * (self.width - 1), 0.5 + rows * (self.height - 1)], axis=1)
        steps = self.metres(places)
        areas = abs(np.linalg.det(steps))
        sides = np.linalg.norm(steps, axis=2)
        return float((areas / sides[:, 0]).min()), float((areas / sides[:, 1]).min())

    def margin(self, config: PatchConfig) -> Margin:
        """Return the buffer in whole pixels, rounded up: metres with a CRS, pixels without."""
        if self.crs is None:
            return Margin(config.buffer_px, config.buffer_px)
        down, across = (min(config.buffer_m / size - ROUNDING, MOST_MARGIN) for size in self.metres_per_pixel())
        return Margin(math.ceil(down), math.ceil(across))

    def _lonlat(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = self.transform @ (points[..., 0], points[..., 1])
        lon, lat = _transformer(str(self.crs), WGS84).transform(x, y)
        return lon, lat

    def geocentric(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels (..., 2), column and row, as x, y, z from the Earth's centre in metres, (..., 3)."""
        lon, lat = (np.radians(angle) for angle in self._lonlat(points))
        across = ELLIPSOID.a / np.sqrt(1 - ELLIPSOID.es * np.sin(lat) ** 2)
        x, y = across * np.cos(lat) * np.cos(lon), across * np.cos(lat) * np.sin(lon)
        return np.stack([x, y, across * (1 - ELLIPSOID.es) * np.sin(lat)], axis=-1)

    def outlines(self, rects: NDArray[np.float64], other: "SceneGround") -> NDArray[np.object_]:
        """Return rectangles of this scene as shapely polygons in the pixels (x = column, y = row) of `other`."""
        if other is self:
            boxes: NDArray[np.object_] = shapely.box(rects[:, 1], rects[:, 0], rects[:, 3], rects[:, 2])
            return boxes
        corners = self.corners(rects, str(self.crs))
        polygons: NDArray[np.object_] = shapely.polygons(other.pixels(corners, str(self.crs)))
        return polygons


@lru_cache(maxsize=64)
def _once_around(crs: str) -> float:
    """Return after how much x a CRS comes back to the same place, 0 where it does not."""
    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return float(2 * math.pi / known.axis_info[0].unit_conversion_factor)
    return EQUATOR_M if known.to_epsg() == WEB_MERCATOR else 0.0


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


def may_meet(a: SceneGround, b: SceneGround, buffer_m: float) -> bool:
    """Whether two scenes can lie within the buffer of each other, by their bounds around the Earth's centre.

    Those know neither the 180th meridian nor poles. They are generous: this only saves work.
    """
    if a.crs is None or b.crs is None:
        return False
    low_a, high_a = _bounds(a)
    low_b, high_b = _bounds(b)
    # written so that bounds that are not finite may meet everything
    return not bool(((low_a > high_b + buffer_m) | (low_b > high_a + buffer_m)).any())


@lru_cache(maxsize=65536)
def _bounds(ground: SceneGround) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of a box around a scene in geocentric metres, each (3,)."""
    share = np.linspace(0, 1, 9)
    points = ground.geocentric(np.stack(np.meshgrid(share * ground.width, share * ground.height), axis=-1))
    steps = [np.linalg.norm(np.diff(points, axis=axis), axis=-1).max() for axis in (0, 1)]
    bulge = max(steps)  # more than the ground between two points of the grid can stand out
    return points.min(axis=(0, 1)) - bulge, points.max(axis=(0, 1)) + bulge


def near_longitude(rings: NDArray[np.float64], longitude: float) -> NDArray[np.float64]:
    """Return rings (N, P, 2) of longitude and latitude unbroken at the 180th meridian, on a longitude's side of it."""
    lon, first = rings[..., 0], rings[:, :1, 0]
    turns = np.round((lon - first) / 360) + np.round((first - longitude) / 360)
    return np.stack([lon - 360 * turns, rings[..., 1]], axis=-1)


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
