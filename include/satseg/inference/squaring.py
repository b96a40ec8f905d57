"""Right angles for polygons that stand for buildings."""

import cmath
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapely.affinity import rotate
from shapely.geometry import Polygon

LEAST_OVERLAP = 0.8  # intersection over union with the outline; below, the outline stays as it is


class _Run(NamedTuple):
    """Consecutive edges of a ring that become one side: along x at one y, or along y at one x."""

    along_x: bool
    position: float
    length: float


def squared(outline: Polygon, least_side: float) -> Polygon:
    """Return an outline with right angles along its main direction, or as it was where that does not fit it.

    Edges are turned to the nearer of the two directions and moved to the mean of where they were, weighted by length,
    so that the area hardly changes; sides shorter than `least_side` are merged into their neighbours.
    """
    degrees = math.degrees(main_direction(outline))
    upright = rotate(outline, -degrees, origin=(0, 0))
    shell = _rectilinear(np.asarray(upright.exterior.coords), least_side)
    if shell is None:
        return outline
    holes = [_rectilinear(np.asarray(ring.coords), least_side) for ring in upright.interiors]
    candidate = Polygon(shell, [hole for hole in holes if hole is not None])
    if not candidate.is_valid:
        return outline
    candidate = rotate(candidate, degrees, origin=(0, 0))
    overlap = outline.intersection(candidate).area / outline.union(candidate).area
    return candidate if overlap >= LEAST_OVERLAP else outline


def main_direction(outline: Polygon) -> float:
    """Return the direction of most of the outline, modulo a quarter turn, in radians.

    The mean of the edges' directions times four, as complex numbers: 0° and 90° support each other.
    """
    edges = np.diff(np.asarray(outline.exterior.coords)[:, :2], axis=0)
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    # squared: a long wall says more than a staircase of as many pixels
    mean = complex((lengths**2 * np.exp(4j * np.arctan2(edges[:, 1], edges[:, 0]))).sum())
    return cmath.phase(mean) / 4


def _rectilinear(ring: NDArray[np.float64], least_side: float) -> list[tuple[float, float]] | None:
    """Return the corners of a ring made of sides along x and y; None when there are not four sides."""
    sides = _merged([_side(start, end) for start, end in pairwise(ring)])
    while len(sides) > 4 and (shortest := _shortest(sides, least_side)) is not None:
        sides = _merged([side for number, side in enumerate(sides) if number != shortest])
    if len(sides) < 4:
        return None
    return [_corner(sides[number - 1], side) for number, side in enumerate(sides)]


def _side(start: NDArray[np.float64], end: NDArray[np.float64]) -> _Run:
    dx, dy = (end - start)[:2]
    along_x = bool(abs(dx) >= abs(dy))
    middle = (start + end) / 2
    return _Run(along_x, float(middle[1] if along_x else middle[0]), float(np.hypot(dx, dy)))


def _merged(sides: list[_Run]) -> list[_Run]:
    """Merge neighbouring sides of one direction, the last and the first one too."""
    merged: list[_Run] = []
    for side in sides:
        if merged and merged[-1].along_x == side.along_x:
            merged[-1] = _mean(merged[-1], side)
        else:
            merged.append(side)
    if len(merged) > 1 and merged[0].along_x == merged[-1].along_x:
        merged[0] = _mean(merged.pop(), merged[0])
    return merged


def _mean(one: _Run, other: _Run) -> _Run:
    length = one.length + other.length
    position = (one.position * one.length + other.position * other.length) / length if length else one.position
    return _Run(one.along_x, position, length)


def _shortest(sides: list[_Run], least_side: float) -> int | None:
    """Return the number of the shortest side, None when none is shorter than `least_side`.

    A side is as long as its neighbours are apart.
    """
    count = len(sides)
    lengths = [abs(sides[(n + 1) % count].position - sides[n - 1].position) for n in range(count)]
    shortest = int(np.argmin(lengths))
    return shortest if lengths[shortest] < least_side else None


def _corner(before: _Run, after: _Run) -> tuple[float, float]:
    return (after.position, before.position) if before.along_x else (before.position, after.position)
