import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape

from satseg.inference.components import Component, find_components, find_groups


def in_strips(
    classes: NDArray[np.uint8], probabilities: NDArray[np.float32], height: int
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
    for top in range(0, len(classes), height):
        yield top, classes[top : top + height], probabilities[top : top + height]


def polygons_by_class(components: list[Component]) -> list[tuple[int, float, bytes]]:
    return sorted((c.class_id, c.polygon().area, shapely.normalize(c.polygon()).wkb) for c in components)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000), strip=st.integers(1, 40), filled=st.floats(0.2, 0.9), coarse=st.sampled_from([1, 2, 5])
)
def test_strips_give_the_same_objects_as_the_whole_map(seed: int, strip: int, filled: float, coarse: int) -> None:
    rng = np.random.default_rng(seed)
    small = np.where(
        rng.random((40 // coarse, 35 // coarse)) < filled, rng.integers(1, 3, (40 // coarse, 35 // coarse)), 0
    )
    classes = np.kron(small, np.ones((coarse, coarse))).astype(np.uint8)
    probabilities = rng.random((*classes.shape, 2)).astype(np.float32)
    components = list(find_components(in_strips(classes, probabilities, strip)))

    whole = [(shape(geometry), int(value)) for geometry, value in shapes(classes, mask=classes > 0, connectivity=4)]
    assert len(components) == len(whole)
    assert sum(c.pixels for c in components) == (classes > 0).sum()
    expected = sorted((value, polygon.area) for polygon, value in whole)
    assert sorted((c.class_id, c.polygon().area) for c in components) == expected
    assert all(c.polygon().is_valid and c.polygon().geom_type == "Polygon" for c in components)
    assert all(c.polygon().area == c.pixels for c in components)
    union = shapely.unary_union([c.polygon() for c in components if c.class_id == 1])
    assert union.equals(shapely.unary_union([polygon for polygon, value in whole if value == 1]))


def test_confidence_is_the_mean_probability_of_the_own_class_over_all_strips() -> None:
    classes = np.zeros((30, 20), np.uint8)
    classes[5:25, 3:9] = 1
    classes[8:12, 12:18] = 2
    probabilities = np.random.default_rng(0).random((30, 20, 2)).astype(np.float32)
    found = {c.class_id: c for c in find_components(in_strips(classes, probabilities, 7))}
    assert found[1].confidence == pytest.approx(probabilities[5:25, 3:9, 0].mean(), abs=1e-6)
    assert found[2].confidence == pytest.approx(probabilities[8:12, 12:18, 1].mean(), abs=1e-6)


def test_arms_that_meet_only_in_a_later_strip_are_one_object() -> None:
    classes = np.zeros((40, 30), np.uint8)
    classes[0:40, 2:4] = classes[0:40, 10:12] = classes[0:40, 20:22] = 1
    classes[35:37, 2:22] = 1
    objects = list(find_components(in_strips(classes, classes[..., None].astype(np.float32), 5)))
    assert len(objects) == 1
    assert objects[0].polygon().area == classes.sum()


def test_an_outline_has_no_vertices_where_strips_met() -> None:
    classes = np.zeros((40, 30), np.uint8)
    classes[3:37, 5:25] = 1
    (only,) = find_components(in_strips(classes, classes[..., None].astype(np.float32), 4))
    assert len(only.polygon().exterior.coords) == 5


def test_classes_that_touch_at_a_strip_border_stay_apart() -> None:
    classes = np.ones((10, 10), np.uint8)
    classes[5:] = 2
    objects = list(find_components(in_strips(classes, np.ones((10, 10, 2), np.float32), 5)))
    assert sorted((c.class_id, c.pixels) for c in objects) == [(1, 50), (2, 50)]


def test_specks_are_left_out_but_never_parts_of_large_objects() -> None:
    classes = np.zeros((20, 20), np.uint8)
    classes[2, 2] = 1
    classes[9:11, 5:15] = 1
    objects = list(find_components(in_strips(classes, np.ones((20, 20, 1), np.float32), 10), least_pixels=12))
    assert [c.pixels for c in objects] == [20]


def test_small_objects_that_cross_a_strip_border_are_left_out_when_they_end() -> None:
    classes = np.zeros((20, 20), np.uint8)
    classes[9:11, 2:4] = 1
    classes[9:11, 8:18] = 1
    objects = list(find_components(in_strips(classes, np.ones((20, 20, 1), np.float32), 10), least_pixels=12))
    assert [c.pixels for c in objects] == [20]


def test_the_least_probability_is_found_over_all_strips() -> None:
    classes = np.ones((30, 8), np.uint8)
    probabilities = np.full((30, 8, 1), 0.9, np.float32)
    probabilities[17, 3] = 0.55
    (only,) = find_components(in_strips(classes, probabilities, 7))
    assert only.least_probability == pytest.approx(0.55)


@pytest.mark.parametrize("grouped", [False, True])
def test_objects_that_were_given_away_are_freed_at_once(grouped: bool) -> None:
    classes = np.zeros((64, 64), np.uint8)
    classes[1::8, 1::8] = classes[2::8, 1::8] = 1
    classes[2::8, 2::8] = 2
    strips = ((top, classes[top : top + 4], np.ones((4, 64, 2), np.float32)) for top in range(0, 64, 4))
    gc.disable()
    try:
        seen = [weakref.ref(component) for group in find_groups(strips, grouped=grouped) for component in group]
        alive = sum(ref() is not None for ref in seen)
    finally:
        gc.enable()
    assert len(seen) == 128
    assert alive <= 2  # those of the loop's own names
