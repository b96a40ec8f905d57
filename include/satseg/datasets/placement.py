"""Whether a scene's transform and CRS put it anywhere on Earth."""

import math

from pyproj import Transformer
from pyproj.exceptions import ProjError

from satseg.scenes.grid import Grid


def is_placed(grid: Grid) -> bool:
    """Return whether pixels have an area and, with a CRS, the scene's middle has a longitude and latitude.

    Far outside its domain a projection gives numbers all the same; only the way back does not lead home.
    """
    area = grid.transform.determinant
    if not math.isfinite(area) or not area:
        return False
    if grid.crs is None:
        return True
    west, south, east, north = grid.bounds
    middle = (west + east) / 2, (south + north) / 2
    try:
        there = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*middle, errcheck=True)
        back = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(*there, errcheck=True)
    except ProjError:
        return False
    tolerance = max(math.sqrt(abs(area)), 1e-9 * max(map(abs, middle)))
    return abs(there[1]) <= 90 and math.dist(middle, back) <= tolerance
