"""Outlines are those of GDAL's polygonize, ring by ring."""

import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy.ndimage import label
from shapely.geometry import Polygon, shape

from satseg.inference.outlines import outlines


def by_gdal(numbers: NDArray[np.int32], top: int) -> list[Polygon]:
    traced = shapes(numbers, mask=numbers > 0, connectivity=4, transform=Affine.translation(0, top))
    return [polygon for _, polygon in sorted((int(number), shape(geometry)) for geometry, number in traced)]


def numbered(classes: NDArray[np.int64]) -> NDArray[np.int32]:
    numbers = np.zeros(classes.shape, np.int32)
    for class_id in range(1, classes.max() + 1):
        found, _ = label(classes == class_id)
        numbers[found > 0] = found[found > 0] + numbers.max()
    return numbers


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    filled=st.floats(0.1, 1.0),
    kinds=st.integers(1, 3),
)
def test_outlines_are_those_of_polygonize(seed: int, size: tuple[int, int], filled: float, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(1, kinds + 1, size) * (rng.random(size) < filled)
    classes[0, 0] = 1
    numbers = numbered(classes)
    found, expected = outlines(np.pad(numbers, 1), 7), by_gdal(numbers, 7)
    assert shapely.is_valid(found).all()
    assert [polygon.exterior.wkb for polygon in found] == [polygon.exterior.wkb for polygon in expected]
    assert (shapely.normalize(found) == shapely.normalize(np.array(expected, object))).all()


def test_holes_that_touch_at_a_corner_are_two() -> None:
    numbers = np.ones((5, 5), np.int32)
    numbers[1, 1] = numbers[2, 2] = 0
    (found,) = outlines(np.pad(numbers, 1), 0)
    assert [Polygon(ring).bounds for ring in found.interiors] == [(1, 1, 2, 2), (2, 2, 3, 3)]


def test_a_hole_that_touches_the_outer_ring_at_a_corner_is_a_hole() -> None:
    numbers = np.ones((3, 4), np.int32)
    numbers[0, 0] = numbers[1, 1] = 0
    (found,) = outlines(np.pad(numbers, 1), 0)
    assert found.is_valid
    assert found.area == 10
    assert len(found.interiors) == 1
