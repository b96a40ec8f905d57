"""From pixels to the ground: coordinates in the scene's CRS and true areas, whatever the CRS."""

from functools import cached_property

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from shapely.geometry import Polygon, box

from satseg.scenes.grid import Grid


class Ground:
    """The ground under a grid of pixels; without a CRS its coordinates are pixels (x = column, y = row)."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    @cached_property
    def _to_lonlat(self) -> pyproj.Transformer | None:
        try:
            return pyproj.Transformer.from_crs(self.grid.crs, "EPSG:4326", always_xy=True)
        except ProjError:  # a local grid without a place on Earth
            return None

    def to_scene(self, pixels: Polygon) -> Polygon:
        """Turn a polygon in pixels into the coordinates of the scene's CRS."""
        a, b, c, d, e, f = self.grid.transform[:6]
        return shapely.transform(pixels, lambda xy: xy @ np.array([[a, d], [b, e]]) + np.array([c, f]))

    def area_m2(self, polygon: Polygon) -> float | None:
        """Return the true area of a polygon in scene coordinates, None for a scene without a CRS.

        Geodesic on WGS 84 (Karney 2013, "Algorithms for geodesics"): planar areas in EPSG:3857 are too large by
        1/cos²(latitude).
        """
        if self.grid.crs is None:
            return None
        transformer = self._to_lonlat
        if transformer is None:
            unit_m = pyproj.CRS.from_user_input(self.grid.crs).axis_info[0].unit_conversion_factor
            return float(polygon.area * unit_m**2)

        def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

        area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shapely.transform(polygon, move))
        return abs(float(area))

    @cached_property
    def pixel_m2(self) -> float | None:
        """True area of the pixel in the middle of the scene."""
        row, column = self.grid.height // 2, self.grid.width // 2
        return self.area_m2(self.to_scene(box(column, row, column + 1, row + 1)))
