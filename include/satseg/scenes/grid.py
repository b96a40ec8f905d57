"""Where the pixels of a scene lie: size, affine transform, CRS, ground sample distance, footprint."""

import math
from dataclasses import dataclass

import pyproj
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import calculate_default_transform, transform_bounds
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box

METRES_PER_DEGREE = 111_319.49  # along the equator of WGS 84
FULL_TURN = 360.0
GSD_TOLERANCE = 0.01
WEB_MERCATOR = "EPSG:3857"


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a scene; without a CRS the transform is the identity and coordinates are pixels."""

    width: int
    height: int
    transform: Affine
    crs: str | None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the CRS (or in pixels)."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The four outer corners, clockwise from the first pixel."""
        pixels = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [tuple(self.transform @ pixel) for pixel in pixels]

    @property
    def outline(self) -> Polygon:
        """The scene's ground as a polygon in its own coordinates."""
        return Polygon(self.corners)

    @property
    def north_up(self) -> bool:
        """Whether rows and columns run along the axes of the CRS."""
        return bool(self.transform.b == 0 and self.transform.d == 0)


def crs_name(crs: CRS | None) -> str | None:
    """Return "EPSG:<code>" where there is one that says exactly the same, otherwise WKT; None for no CRS."""
    if crs is None or not crs.to_wkt():
        return None
    code = crs.to_epsg()  # also of a CRS that is only similar, such as one with a datum shift (TOWGS84) of its own
    return f"EPSG:{code}" if code and CRS.from_epsg(code) == crs else crs.to_wkt()


def pixel_size_m(grid: Grid) -> tuple[float, float] | None:
    """Return the ground size of a pixel along a row and along a column, in metres; None without a CRS.

    A projected CRS is taken at its word: in EPSG:3857 these are projected metres, which are longer than metres on
    the ground by 1/cos(latitude). In a geographic CRS degrees are converted at the scene's middle latitude.
    """
    if grid.crs is None:
        return None
    crs = CRS.from_user_input(grid.crs)
    x = math.hypot(grid.transform.a, grid.transform.d)
    y = math.hypot(grid.transform.b, grid.transform.e)
    if crs.is_geographic:
        _, south, _, north = grid.bounds
        shrink = math.cos(math.radians((south + north) / 2))
        return x * METRES_PER_DEGREE * shrink, y * METRES_PER_DEGREE
    factor = crs.linear_units_factor[1]
    return x * factor, y * factor


def gsd_of(grid: Grid) -> float | None:
    """Return the ground sample distance in metres (geometric mean of both directions); None without a CRS."""
    size = pixel_size_m(grid)
    return None if size is None else math.sqrt(size[0] * size[1])


def fits_gsd(grid: Grid, gsd_m: float) -> bool:
    """Return whether both pixel sides are within 1% of `gsd_m`."""
    size = pixel_size_m(grid)
    return size is not None and all(abs(side / gsd_m - 1) <= GSD_TOLERANCE for side in size)


def target_grid(grid: Grid, crs: str | None, gsd_m: float | None) -> Grid:
    """Return the grid a scene is brought to; the same object when it stays as it is.

    Args:
        grid: the source's grid.
        crs: wanted CRS, None for the scene's own.
        gsd_m: wanted ground sample distance in metres of that CRS, None for the scene's own.
    """
    if grid.crs is None:
        return grid
    if crs is not None and CRS.from_user_input(crs) != CRS.from_user_input(grid.crs):
        return _reprojected(grid, crs, gsd_m)
    if gsd_m is None or fits_gsd(grid, gsd_m):
        return grid
    size = pixel_size_m(grid)
    assert size is not None
    t = grid.transform
    sides = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
    # new sides in units of the CRS; dividing first keeps 0.15 m at exactly 0.15
    x, y = gsd_m / (size[0] / sides[0]), gsd_m / (size[1] / sides[1])
    return Grid(
        width=max(1, round(grid.width * sides[0] / x)),
        height=max(1, round(grid.height * sides[1] / y)),
        transform=Affine(t.a / sides[0] * x, t.b / sides[1] * y, t.c, t.d / sides[0] * x, t.e / sides[1] * y, t.f),
        crs=grid.crs,
    )


def _reprojected(grid: Grid, crs: str, gsd_m: float | None) -> Grid:
    target = CRS.from_user_input(crs)
    source = CRS.from_user_input(grid.crs)
    transform, width, height = calculate_default_transform(source, target, grid.width, grid.height, *grid.bounds)
    found = Grid(width, height, transform, crs_name(target))
    if gsd_m is None or fits_gsd(found, gsd_m):
        return found
    return target_grid(found, None, gsd_m)


def footprint_wgs84(grid: Grid) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north in degrees; None without a CRS or where the CRS has no way to WGS 84.

    West is larger than east where the scene lies across the antimeridian, as in RFC 7946.
    """
    if grid.crs is None:
        return None
    try:
        west, south, east, north = transform_bounds(CRS.from_user_input(grid.crs), CRS.from_epsg(4326), *grid.bounds)
    except RasterioError:
        return None
    if east - west >= FULL_TURN:
        west, east = -180.0, 180.0
    bounds = (_longitude(float(west)), float(south), _longitude(float(east)), float(north))
    return bounds if all(math.isfinite(value) for value in bounds) else None


def _longitude(degrees: float) -> float:
    return degrees if abs(degrees) <= 180 or not math.isfinite(degrees) else (degrees + 180) % FULL_TURN - 180


def geometry_wgs84(grid: Grid) -> Polygon | MultiPolygon:
    """Return the ground of a scene that has a footprint, in longitude and latitude; cut at the antimeridian."""
    bounds = footprint_wgs84(grid)
    transformer = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    corners = [transformer.transform(*corner) for corner in grid.corners]
    if bounds is None or bounds[0] <= bounds[2]:
        return Polygon(corners)
    whole = Polygon([(x % FULL_TURN, y) for x, y in corners])
    west = whole.intersection(box(0, -90, 180, 90))
    east = translate(whole.intersection(box(180, -90, FULL_TURN, 90)), -FULL_TURN)
    return MultiPolygon([part for part in (west, east) if isinstance(part, Polygon) and not part.is_empty])


def mercator_note(grid: Grid) -> str | None:
    """Return a sentence for people when the GSD is in Web Mercator's stretched metres."""
    if grid.crs != WEB_MERCATOR:
        return None
    bounds = footprint_wgs84(grid)
    latitude = (bounds[1] + bounds[3]) / 2 if bounds else 0.0
    return (
        f"GSD is in the projected metres of {WEB_MERCATOR}; "
        f"at latitude {latitude:.1f} one of them is {math.cos(math.radians(latitude)):.3f} m on the ground"
    )
