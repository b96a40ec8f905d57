import math

import pytest
from affine import Affine
from rasterio.crs import CRS

from satseg.scenes.grid import (
    Grid,
    crs_name,
    fits_gsd,
    footprint_wgs84,
    geometry_wgs84,
    gsd_of,
    mercator_note,
    target_grid,
)

MERCATOR = Grid(
    3072, 2048, Affine(0.07464553543474244, 0, 3628312.858, 0, -0.07464553543474244, 39135.758), "EPSG:3857"
)


def test_gsd_is_in_units_of_the_crs():
    assert gsd_of(MERCATOR) == pytest.approx(0.0746455)
    feet = Grid(10, 10, Affine(1, 0, 1e6, 0, -1, 2e5), "EPSG:2263")  # US survey feet
    assert gsd_of(feet) == pytest.approx(0.3048006)
    degrees = Grid(100, 100, Affine(1e-5, 0, 10, 0, -1e-5, 60.0005), "EPSG:4326")
    assert gsd_of(degrees) == pytest.approx(1.113 * math.sqrt(math.cos(math.radians(60))), rel=1e-3)
    assert gsd_of(Grid(5, 5, Affine.identity(), None)) is None


def test_resampling_hits_the_gsd_exactly_and_keeps_the_corner():
    target = target_grid(MERCATOR, None, 0.15)
    assert (target.transform.a, target.transform.e) == (0.15, -0.15)
    assert (target.transform.c, target.transform.f) == (MERCATOR.transform.c, MERCATOR.transform.f)
    assert (target.width, target.height) == (1529, 1019)


def test_a_scene_within_one_percent_stays_as_it_is():
    near = Grid(100, 100, Affine(0.151, 0, 0, 0, -0.1495, 0), "EPSG:32636")
    assert fits_gsd(near, 0.15)
    assert target_grid(near, None, 0.15) is near
    far = Grid(100, 100, Affine(0.152, 0, 0, 0, -0.15, 0), "EPSG:32636")
    assert target_grid(far, None, 0.15) is not far


def test_a_scene_without_crs_is_never_resampled():
    pixels = Grid(100, 80, Affine.identity(), None)
    assert target_grid(pixels, "EPSG:32636", 0.15) is pixels
    assert footprint_wgs84(pixels) is None


def test_reprojection_reaches_crs_and_gsd():
    target = target_grid(MERCATOR, "EPSG:32636", 0.15)
    assert target.crs == "EPSG:32636"
    assert gsd_of(target) == pytest.approx(0.15)
    west, south, east, north = footprint_wgs84(target)
    expected = footprint_wgs84(MERCATOR)
    assert (west, south, east, north) == pytest.approx(expected, abs=2e-5)


def test_stretched_metres_are_said():
    north = Grid(100, 100, Affine(0.15, 0, 1e6, 0, -0.15, 8_399_738), "EPSG:3857")
    assert "at latitude 60.0 one of them is 0.500 m on the ground" in mercator_note(north)
    assert mercator_note(Grid(5, 5, Affine(1, 0, 5e5, 0, -1, 0), "EPSG:32636")) is None


def test_a_crs_is_called_by_a_code_only_where_the_code_says_the_same():
    assert crs_name(CRS.from_wkt(CRS.from_epsg(31467).to_wkt("WKT1_ESRI"))) == "EPSG:31467"
    own_shift = "+proj=utm +zone=36 +ellps=clrk80 +towgs84=-160,-6,-302 +units=m +no_defs"
    name = crs_name(CRS.from_user_input(own_shift))
    assert "TOWGS84[-160,-6,-302" in name
    grid = Grid(10, 10, Affine(0.5, 0, 450_000, 0, -0.5, 30_000), name)
    arc_1960 = footprint_wgs84(Grid(10, 10, grid.transform, "EPSG:21096"))
    assert footprint_wgs84(grid) == pytest.approx(arc_1960, abs=2e-5)  # a metre, and not the hundreds of no shift


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32601", Affine(20, 0, 165_950, 0, -20, 100_000)),
        ("EPSG:4326", Affine(1e-4, 0, 179.99, 0, -1e-4, 10)),
        ("EPSG:4326", Affine(1e-4, 0, -180.01, 0, -1e-4, 10)),
    ],
)
def test_a_scene_across_the_antimeridian_is_cut_there(crs, transform):
    grid = Grid(200, 200, transform, crs)
    west, south, east, north = footprint_wgs84(grid)
    assert 179.98 < west <= 180
    assert -180 <= east < -179.96
    left, right = geometry_wgs84(grid).geoms
    assert left.bounds == pytest.approx((west, south, 180, north), abs=1e-4)
    assert right.bounds == pytest.approx((-180, south, east, north), abs=1e-4)


def test_a_map_of_the_world_stays_whole():
    world = Grid(360, 180, Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    assert footprint_wgs84(world) == (-180, -90, 180, 90)
    assert geometry_wgs84(world).bounds == (-180, -90, 180, 90)
