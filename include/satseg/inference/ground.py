"""From pixels to the ground: coordinates in the scene's CRS and true areas, whatever the CRS."""

from functools import cached_property
from itertools import pairwise

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from shapely.geometry import box

from satseg.scenes.grid import Grid

_WGS84 = pyproj.Geod(ellps="WGS84")


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

    def to_scene(self, pixels: NDArray[np.object_]) -> NDArray[np.object_]:
        """Turn polygons in pixels into the coordinates of the scene's CRS."""
        a, b, c, d, e, f = self.grid.transform[:6]
        moved: NDArray[np.object_] = shapely.transform(
            pixels, lambda xy: xy @ np.array([[a, d], [b, e]]) + np.array([c, f])
        )
        return moved

    def areas_m2(self, polygons: NDArray[np.object_]) -> NDArray[np.float64] | None:
        """Return the true areas of polygons in scene coordinates, None for a scene without a CRS.

        Geodesic on WGS 84 (Karney 2013, "Algorithms for geodesics"): planar areas in EPSG:3857 are too large by
        1/cos²(latitude).
        """
        if self.grid.crs is None:
            return None
        areas: NDArray[np.float64]
        if self._to_lonlat is None:
            unit_m = pyproj.CRS.from_user_input(self.grid.crs).axis_info[0].unit_conversion_factor
            areas = shapely.area(polygons) * unit_m**2
            return areas
        # all rings at once; holes turn the other way round, so that their areas are negative
        rings, polygon_of = shapely.get_rings(shapely.orient_polygons(polygons), return_index=True)
        coordinates, ring_of = shapely.get_coordinates(rings, return_index=True)
        lon, lat = self._to_lonlat.transform(coordinates[:, 0], coordinates[:, 1])
        cuts = np.searchsorted(ring_of, np.arange(len(rings) + 1)).tolist()
        ring_areas = [
            _WGS84.polygon_area_perimeter(lon[start:stop], lat[start:stop])[0] for start, stop in pairwise(cuts)
        ]
        areas = np.abs(np.bincount(polygon_of, ring_areas, minlength=len(polygons)))
        return areas

    @cached_property
    def pixel_m2(self) -> float | None:
        """True area of the pixel in the middle of the scene."""
        row, column = self.grid.height // 2, self.grid.width // 2
        areas = self.areas_m2(self.to_scene(np.array([box(column, row, column + 1, row + 1)])))
        return None if areas is None else float(areas[0])
