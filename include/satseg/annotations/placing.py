"""Carrying coordinates: from pixels to the ground, and from one CRS to another."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from satseg.annotations.labels import Geometries
from satseg.scenes.grid import Grid

Carrier: TypeAlias = Callable[[Geometries], Geometries]
CURVE_TOLERANCE_PX = 0.01
FAR_AWAY = 1e18  # where a point goes that the CRS cannot hold: infinite coordinates would make polygons invalid
_HALVINGS = 16
_GRID_POINTS = 33


def same_crs(first: str | None, second: str | None) -> bool:
    """Return whether two CRS are the same, however they are written."""
    if first is None or second is None or first == second:
        return first == second
    return bool(pyproj.CRS.from_user_input(first) == pyproj.CRS.from_user_input(second))


def pixel_of(grid: Grid) -> float:
    """Return the side of a pixel in units of the grid's coordinates (geometric mean)."""
    return math.sqrt(abs(grid.transform.determinant))


def moved(geometries: Any, transform: Affine) -> Any:
    """Return a geometry, or an array of them, under an affine transform; the identity changes nothing."""
    if transform == Affine.identity():
        return geometries
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(
        geometries, lambda xy: np.column_stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f])
    )


def carrier(source: str, target: str, pixel: float) -> Carrier:
    """Return the function that carries geometries from one CRS to another.

    A straight edge of one CRS is a curve in another: edges get points in between until the curve is followed within
    CURVE_TOLERANCE_PX.

    Args:
        source: CRS of the geometries.
        target: CRS to carry them to.
        pixel: side of a pixel in units of `target`.
    """
    if same_crs(source, target):
        return lambda geometries: geometries
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)

    def project(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.nan_to_num(
            np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])), nan=FAR_AWAY, posinf=FAR_AWAY, neginf=-FAR_AWAY
        )
        return found

    def carry(geometries: Geometries) -> Geometries:
        found: Geometries = shapely.transform(_followed(geometries, project, CURVE_TOLERANCE_PX * pixel), project)
        return found

    return carry


def _followed(
    geometries: Geometries, project: Callable[[NDArray[np.float64]], NDArray[np.float64]], tolerance: float
) -> Geometries:
    """Return the geometries with so many points that straight edges follow the projected curves."""
    found = geometries.copy()
    for _ in range(_HALVINGS):
        bent = _bent(found, project, tolerance)
        if not len(bent):
            break
        found[bent] = shapely.segmentize(found[bent], _longest_edges(found[bent]) / 2 * (1 + 1e-9))
    return found


def _bent(
    geometries: Geometries, project: Callable[[NDArray[np.float64]], NDArray[np.float64]], tolerance: float
) -> NDArray[np.intp]:
    """Return the numbers of geometries with an edge whose projected middle lies off its projected ends' middle."""
    points, owner = shapely.get_coordinates(geometries, return_index=True)
    if len(points) < 2:
        return np.empty(0, dtype=np.intp)
    # between two rings of one geometry this tests an edge that is not there: harmless, but for needless points
    same = owner[1:] == owner[:-1]
    there = project(points)
    middle = project((points[1:] + points[:-1]) / 2)
    off = np.abs(middle - (there[1:] + there[:-1]) / 2).max(axis=1)
    lost = np.abs(there).max(axis=1) >= FAR_AWAY
    wrong = same & (off > tolerance) & ~(lost[1:] | lost[:-1])
    return np.unique(owner[1:][wrong])


def _longest_edges(geometries: Geometries) -> NDArray[np.float64]:
    points, owner = shapely.get_coordinates(geometries, return_index=True)
    lengths = np.hypot(*(points[1:] - points[:-1]).T)
    lengths[owner[1:] != owner[:-1]] = 0
    longest = np.zeros(len(geometries))
    np.maximum.at(longest, owner[1:], lengths)
    return longest


def ground_box(scene: Grid, crs: str, margin_px: float = 0.0) -> Any | None:
    """Return a box of another CRS that surely holds a scene, None where there is none.

    A lattice of points, not the outline alone, is carried over, because a pole inside lies on no edge; a sixteenth is
    added on each side for what lies between the points.

    Args:
        scene: a scene with a CRS.
        crs: CRS of the box.
        margin_px: pixels around the scene that count too.
    """
    assert scene.crs is not None
    columns = np.linspace(-margin_px, scene.width + margin_px, _GRID_POINTS)
    rows = np.linspace(-margin_px, scene.height + margin_px, _GRID_POINTS)
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    transformer = pyproj.Transformer.from_crs(scene.crs, crs, always_xy=True)
    east, north = transformer.transform(a * x + b * y + c, d * x + e * y + f)
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        return None
    wide, high = (np.ptp(east) + 1e-9) / 16, (np.ptp(north) + 1e-9) / 16
    return shapely.box(east.min() - wide, north.min() - high, east.max() + wide, north.max() + high)
