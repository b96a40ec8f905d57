"""Metres, and other scenes' ground in one's own pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from patch_scenes import SceneSpec, record_of, small_project
from pyproj import Geod

from satseg.patches.division import _overlap
from satseg.patches.ground import SceneGround, bounding_rects, ground_of, may_meet
from satseg.patches.windows import Margin


def ground(crs: str | None, transform: Affine) -> SceneGround:
    return SceneGround("s", 100, 100, crs, transform)


def test_utm_pixels_are_as_large_as_they_say() -> None:
    down, across = ground_of(record_of(SceneSpec(gsd_m=0.5))).metres_per_pixel()
    assert down == pytest.approx(0.5, rel=1e-3)
    assert across == pytest.approx(0.5, rel=1e-3)


def test_web_mercator_metres_are_ground_metres() -> None:
    y = 8_399_737.9  # 60° north, where one projected metre is half a metre
    down, across = ground("EPSG:3857", Affine(1, 0, 0, 0, -1, y)).metres_per_pixel()
    assert down == pytest.approx(0.5, rel=0.01)
    assert across == pytest.approx(0.5, rel=0.01)


def test_degrees_become_metres_by_latitude() -> None:
    down, across = ground("EPSG:4326", Affine(1e-5, 0, 30, 0, -1e-5, 60)).metres_per_pixel()
    assert down == pytest.approx(1.114, rel=0.01)
    assert across == pytest.approx(1.116 * math.cos(math.radians(60)), rel=0.01)


def test_the_buffer_is_rounded_up_to_pixels_and_in_pixels_without_a_crs() -> None:
    config = small_project("patches.buffer_m=1.1", "patches.buffer_px=7").patches
    assert ground_of(record_of(SceneSpec(gsd_m=0.5))).margin(config) == Margin(3, 3)
    assert ground(None, Affine.identity()).margin(config) == Margin(7, 7)


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:3857", "EPSG:4326"])
def test_bounds_in_another_scene_hold_the_true_place(crs: str) -> None:
    source = ground_of(record_of(SceneSpec(height=200, width=200)))
    rects = np.array([[10, 20, 42, 52], [100, 100, 132, 132]])
    lon_lat = source.corners(rects.astype(float), crs)
    x0, y0 = lon_lat[..., 0].min(), lon_lat[..., 1].max()
    step = 1e-5 if crs == "EPSG:4326" else 0.7
    target = SceneGround("t", 500, 500, crs, Affine(step, 0, x0 - 5 * step, 0, -step, y0 + 5 * step))
    found = bounding_rects(rects, source, target, Margin(0, 0))
    exact = target.pixels(lon_lat, crs)
    assert len(found) == 2
    assert (found[:, 0] <= exact[..., 1].min(axis=1) + 1e-5).all()
    assert (found[:, 3] >= exact[..., 0].max(axis=1) - 1e-5).all()
    assert (found[:, 2] - found[:, 0] < np.ptp(exact[..., 1], axis=1) + 2.1).all()


def test_far_or_unplaced_scenes_have_no_ground_in_common() -> None:
    here, island = SceneSpec("a"), SceneSpec("c", crs=None)
    far = SceneSpec("b", offset_px=(0, 100_000))
    rects = np.array([[0, 0, 32, 32]])
    grounds = [ground_of(record_of(spec)) for spec in (here, far, island)]
    assert may_meet(grounds[0], grounds[0], 5)
    assert not may_meet(grounds[0], grounds[1], 5)
    assert not may_meet(grounds[0], grounds[2], 5)
    assert not len(bounding_rects(rects, grounds[1], grounds[0], Margin(10, 10)))
    assert not len(bounding_rects(rects, grounds[2], grounds[0], Margin(10, 10)))


def test_scenes_on_both_sides_of_the_180th_meridian_meet() -> None:
    west = ground("EPSG:4326", Affine(1e-5, 0, 179.9995, 0, -1e-5, -17))  # reaches over it
    east = ground("EPSG:4326", Affine(1e-5, 0, -179.9999, 0, -1e-5, -17))
    assert may_meet(west, east, 5)
    found = bounding_rects(np.array([[0, 0, 32, 32]]), east, west, Margin(1, 1))
    assert found.tolist() == [[0, 60, 32, 92]]
    x = 20_037_508.342789244
    mercator = [ground("EPSG:3857", Affine(1, 0, left, 0, -1, 0)) for left in (x - 50, -x)]
    assert may_meet(*mercator, 5)
    assert bounding_rects(np.array([[0, 0, 32, 32]]), *mercator[::-1], Margin(1, 1)).tolist() == [[0, 50, 32, 82]]


def test_footprints_on_both_sides_of_the_antimeridian_overlap() -> None:
    record = record_of(SceneSpec("a"))
    across, west, east, elsewhere = (
        replace(record, footprint_wgs84=(left, -1.0, right, 1.0), checksum=str(left), source_checksum=str(left))
        for left, right in ((179.9, 180.1), (179.95, 180.0), (-180.0, -179.95), (0.0, 1.0))
    )
    for one in (across, west, east):
        assert _overlap(across, one)
        assert _overlap(one, across)
        assert not _overlap(one, elsewhere)


def test_a_pixel_is_as_large_as_its_smallest_in_the_scene() -> None:
    tall = SceneGround("s", 6000, 200, "EPSG:4326", Affine(0.002, 0, 20, 0, -0.002, 72))
    _, across = tall.metres_per_pixel()
    assert across == pytest.approx(Geod(ellps="WGS84").inv(20, 72, 20.002, 72)[2], rel=1e-3)


def test_rows_of_a_sheared_scene_are_nearer_than_its_pixels_are_high() -> None:
    sheared = Affine.translation(450_000, 40_000) @ Affine.rotation(30) @ Affine.shear(40, 0) @ Affine.scale(0.5, -0.5)
    down, across = ground("EPSG:32636", sheared).metres_per_pixel()
    a, b, _, d, e, _ = sheared[:6]
    area = abs(a * e - b * d)
    assert down == pytest.approx(area / math.hypot(a, d), rel=1e-3)
    assert across == pytest.approx(area / math.hypot(b, e), rel=1e-3)
