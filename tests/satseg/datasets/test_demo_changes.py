"""Haze, gain, blur and noise against their formulas, and light and shadow against geometry."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from satseg.datasets.demo_canvas import Canvas, Sun
from satseg.datasets.demo_changes import AIRLIGHT, SEASONS, Change, to_dtype
from satseg.datasets.demo_plan import Building, Wing
from satseg.datasets.demo_roofs import paint_roof

RANDOM = np.random.default_rng(0)


def test_haze_then_gain_follow_koschmieder() -> None:
    clear = RANDOM.uniform(0, 255, (7, 9, 3)).astype(np.float32)
    changed = Change(haze=0.5, gain=1.2).apply(clear.copy(), 255, RANDOM)
    t = 1 - 0.8 * 0.5
    expected = 1.2 * (clear.astype(float) * t + 255 * np.array(AIRLIGHT) * (1 - t))
    np.testing.assert_allclose(changed, expected, rtol=1e-5)


def test_blur_is_a_gaussian() -> None:
    clear = RANDOM.uniform(0, 255, (64, 64, 5)).astype(np.float32)
    changed = Change(blur_px=1.5).apply(clear.copy(), 255, RANDOM)
    for band in range(5):
        expected = gaussian_filter(clear[..., band].astype(float), 1.5, mode="mirror", truncate=6)
        np.testing.assert_allclose(changed[..., band], expected, atol=0.1)


def test_noise_has_the_stated_deviation() -> None:
    changed = Change(noise_dn=3).apply(np.full((200, 200, 2), 100, np.float32), 255, np.random.default_rng(1))
    assert changed.std() == pytest.approx(3, rel=0.02) and changed.mean() == pytest.approx(100, abs=0.1)


def test_values_are_rounded_and_clipped_to_the_type() -> None:
    values = np.array([-3.2, 1.6, 254.7, 300], np.float32)
    assert to_dtype(values, "uint8").tolist() == [0, 2, 255, 255]
    assert to_dtype(values, "int16").tolist() == [-3, 2, 255, 300]
    assert to_dtype(values, "float32").tolist() == values.tolist()


def test_a_flat_roof_throws_a_shadow_of_its_height_over_the_tangent() -> None:
    canvas = Canvas(256, 0.15)
    canvas.colour[:] = 200
    paint_roof(canvas, Building((Wing(19.2, 24, 4, 4, 0.0, "flat", 6.0),), "concrete", 1), SEASONS["summer"])
    elevation = math.radians(50)
    picture = canvas.lit(Sun(math.pi, elevation))[..., 1]  # sun in the south: shadow to the north, up
    column = picture[:, 128]
    dark = np.flatnonzero(column[: int(20 / 0.15)] < 140) * 0.15
    assert dark.max() == pytest.approx(20, abs=0.4)  # it begins at the roof's edge
    assert 20 - dark.min() == pytest.approx(6.4 / math.tan(elevation), abs=0.6)
    assert (column[int(29 / 0.15) :] > 195).all()  # none on the sunny side


def test_shadows_equal_a_slow_march_along_the_ray() -> None:
    canvas = Canvas(256, 0.15)
    random = np.random.default_rng(4)
    for row, col, high in random.uniform((100, 100, 1), (400, 400, 6), (12, 3)):
        canvas.height[int(row) : int(row) + 30, int(col) : int(col) + 20] = high
    canvas.colour[:] = 200
    sun = Sun(math.pi / 2, math.radians(40))  # due east: the ray runs along rows
    picture = canvas.lit(sun)[..., 0]
    fall = math.tan(sun.elevation) / canvas.px_per_m
    rays = np.full_like(canvas.height, -1)
    for step in range(1, 200):
        moved = np.full_like(rays, -1)
        moved[:, :-step] = canvas.height[:, step:] - step * fall
        rays = np.maximum(rays, moved)
    inner = slice(canvas.margin_px, -canvas.margin_px)
    above = (rays - canvas.height)[inner, inner].reshape(256, 2, 256, 2)
    dark, bright = (above > 0.5).all(axis=(1, 3)), (above < 0).all(axis=(1, 3))
    assert dark.sum() > 500
    assert picture[dark].max() < 100 and picture[bright].min() > 145


@pytest.mark.parametrize("roof", ["gable", "hip"])
def test_the_plane_that_faces_the_sun_is_brighter(roof: str) -> None:
    canvas = Canvas(256, 0.15)
    wing = Wing(19.2, 19.2, 6, 4, 0.0, roof, 3.0, 0.5)  # type: ignore[arg-type]
    paint_roof(canvas, Building((wing,), "slate", 1), SEASONS["summer"])
    picture = canvas.lit(Sun(math.pi, math.radians(45)))[..., 1]
    middle, metre = 128, 1 / 0.15
    north, south = (picture[int(middle + at * metre), middle - 10 : middle + 10].mean() for at in (-2, 2))
    assert south > 1.25 * north
