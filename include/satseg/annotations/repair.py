"""Making invalid polygons valid, in a time that is known beforehand."""

import numpy as np
import shapely
from numpy.typing import NDArray

from satseg.annotations.labels import Area, areas_of
from satseg.errors import BadDataError

MAX_CROSSINGS = 100_000  # about ten seconds
_SAMPLE = 32
_SURE_BELOW = 400  # edges: fewer cannot cross MAX_CROSSINGS times


def repaired(area: Area, what: str) -> Area | None:
    """Return a valid polygon of the same ground, None when nothing with an area is left.

    Rings are made valid, parts are joined, holes are cut out (`shapely.make_valid`, method "structure"): overlapping
    parts of a multipolygon stay filled, and the time grows with the number of crossings, not with its square.

    Args:
        area: the polygon.
        what: names it in the error.

    Raises:
        BadDataError: it crosses itself so often that it is no outline and would take hours.
    """
    crossings = estimated_crossings(area)
    if crossings > MAX_CROSSINGS:
        raise BadDataError(
            f"{what} has {shapely.get_num_coordinates(area)} points and crosses itself about {crossings:.0f} times, so "
            "it is no outline of anything; draw it again or remove it"
        )
    found = areas_of(shapely.make_valid(area, method="structure", keep_collapsed=False))
    return None if found is None or found.area == 0 else found


def estimated_crossings(area: Area) -> float:
    """Return about how often the rings of a polygon cross, from a sample of their edges; 0 for few edges."""
    starts, ends = _edges(area)
    count = len(starts)
    if count < _SURE_BELOW:
        return 0.0
    chosen = np.random.default_rng(0).choice(count, _SAMPLE, replace=False)
    hits = sum(_crossed(starts[i], ends[i], starts, ends) for i in chosen)
    return hits / _SAMPLE * count / 2


def _edges(area: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, rings = shapely.get_coordinates(shapely.get_rings(area), return_index=True)
    same = rings[1:] == rings[:-1]
    return points[:-1][same], points[1:][same]


def _crossed(
    start: NDArray[np.float64], end: NDArray[np.float64], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> int:
    """Return how many edges properly cross the edge start–end."""
    split = _side(start, end, starts) * _side(start, end, ends) < 0
    first, last = starts[split], ends[split]
    return int((_side(first, last, start) * _side(first, last, end) < 0).sum())


def _side(start: NDArray[np.float64], end: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    along, to = end - start, point - start
    side: NDArray[np.float64] = np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])
    return side
