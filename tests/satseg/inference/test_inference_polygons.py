"""Outlines: neighbours keep their borders, holes are filled, buildings get right angles, whatever the strips."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.affinity import rotate
from shapely.geometry import Polygon, box

from satseg.config.operation import InferenceConfig
from satseg.errors import ConfigurationError
from satseg.inference.components import find_groups
from satseg.inference.geojson import MapObject
from satseg.inference.ground import Ground
from satseg.inference.polygons import Identity, PolygonRules, map_objects, polygon_rules
from satseg.inference.squaring import main_direction, squared
from satseg.scenes.grid import Grid

PIXELS = Ground(Grid(100, 100, Affine.identity(), None))


def features(
    classes: NDArray[np.uint8], rules: PolygonRules, strip: int = 16, names: tuple[str, ...] = ("a", "b", "c")
) -> list[MapObject]:
    probabilities = np.ones((*classes.shape, len(names)), np.float32)
    strips = (
        (top, classes[top : top + strip], probabilities[top : top + strip]) for top in range(0, len(classes), strip)
    )
    groups = find_groups(strips, rules.least_pixels, grouped=len(names) > 1)
    return list(map_objects(groups, PIXELS, rules, Identity("s", "v1", names)))


def geometry(features: list[MapObject]) -> list[Polygon]:
    return [feature.polygon for feature in features]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), strip=st.integers(1, 60), tolerance=st.floats(0.5, 2))
def test_neighbours_of_other_classes_keep_their_common_borders(seed: int, strip: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 4, (8, 8))
    angle = np.hypot(*np.mgrid[-30:30, -30:30])
    classes = np.kron(corners, np.ones((8, 8)))[:60, :60].astype(np.uint8)
    classes[(angle > 12) & (angle < 20)] = 3
    found = geometry(features(classes, PolygonRules(tolerance, 0.0, 1.0), strip))
    assert all(polygon.is_valid for polygon in found)
    assert sum(p.area for p in found) == pytest.approx(shapely.union_all(found).area, abs=1e-6)  # nothing overlaps
    # and between neighbours nothing is left open: only where no class was are there gaps
    covered = shapely.union_all(found).buffer(0.01)
    inner = np.s_[8:-8, 8:-8]
    nothing = shapely.union_all([box(x, y, x + 1, y + 1) for y, x in np.argwhere(classes == 0)] or [Polygon()])
    gaps = box(8, 8, 52, 52).difference(covered).difference(nothing.buffer(3 * tolerance + 1))
    assert (classes[inner] >= 0).all()
    assert gaps.area < 1e-6


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), strip=st.integers(1, 60))
def test_groups_do_not_depend_on_strips(seed: int, strip: int) -> None:
    classes = np.random.default_rng(seed).integers(0, 4, (40, 40)).astype(np.uint8)
    classes = np.kron(classes[:20, :20], np.ones((2, 2), np.uint8))
    rules = PolygonRules(1.0, 0.0, 1.0)
    whole, cut = geometry(features(classes, rules, 40)), geometry(features(classes, rules, strip))
    assert len(cut) == len(whole)
    normal = [sorted(shapely.to_wkb(shapely.normalize(found)).tolist()) for found in (whole, cut)]
    assert normal[0] == normal[1]


def test_small_holes_are_filled_and_large_ones_kept() -> None:
    classes = np.zeros((60, 60), np.uint8)
    classes[5:55, 5:55] = 1
    classes[10:12, 10:12] = 0
    classes[30:40, 30:40] = 0
    (only,) = geometry(features(classes, PolygonRules(0.0, 10.0, 1.0, fill_holes_m2=10.0), names=("a",)))
    assert [Polygon(ring).bounds for ring in only.interiors] == [(30, 30, 40, 40)]


def test_holes_are_filled_up_to_the_smallest_object_unless_told_otherwise() -> None:
    assert polygon_rules(InferenceConfig(min_area_m2=3), PIXELS, 1.0, ("a",)).fill_holes_m2 == 3
    assert polygon_rules(InferenceConfig(min_area_m2=3, fill_holes_m2=1), PIXELS, 1.0, ("a",)).fill_holes_m2 == 1
    with pytest.raises(ValueError, match="an object could stand in a filled hole"):
        InferenceConfig(min_area_m2=3, fill_holes_m2=4)


@pytest.mark.parametrize("degrees", [0, 12, 30, 44, 61, 89])
def test_a_building_gets_four_right_angles(degrees: int) -> None:
    roof = rotate(box(20, 30, 80, 60), degrees)
    classes = rasterize([roof], out_shape=(100, 100), dtype="uint8")
    rules = PolygonRules(1.3, 2.0, 1.0, square_ids=frozenset({1}))
    (found,) = geometry(features(classes, rules, names=("building",)))
    assert len(found.exterior.coords) == 5
    assert found.area == pytest.approx(roof.area, rel=0.04)
    assert found.intersection(roof).area / found.union(roof).area > 0.93


def test_an_l_shape_keeps_its_six_corners_and_its_courtyard() -> None:
    roof = rotate(box(10, 10, 90, 90).difference(box(50, 50, 90, 90)).difference(box(20, 20, 40, 40)), 20)
    outline = shapely.simplify(Polygon(*_traced(roof)), 1.3)
    found = squared(outline, 3.0)
    assert len(found.exterior.coords) == 7
    assert [len(ring.coords) for ring in found.interiors] == [5]
    assert found.intersection(roof).area / found.union(roof).area > 0.93


def _traced(roof: Polygon) -> tuple:
    classes = rasterize([roof], out_shape=(100, 100), dtype="uint8")
    (found,) = geometry(features(classes, PolygonRules(0.0, 2.0, 1.0), names=("a",)))
    return found.exterior, list(found.interiors)


def test_what_is_not_rectangular_stays_as_it_is() -> None:
    star = Polygon([(r * np.cos(a), r * np.sin(a)) for a, r in zip(np.linspace(0, 6.1, 14), [30, 8] * 7, strict=True)])
    assert squared(star, 2.0) == star
    assert abs(np.degrees(main_direction(rotate(box(0, 0, 9, 4), 30))) - 30) < 1e-6


def test_only_the_named_classes_are_squared() -> None:
    classes = np.zeros((100, 100), np.uint8)
    turned = rotate(box(10, 10, 40, 30), 25)
    classes |= rasterize([turned], out_shape=(100, 100), dtype="uint8")
    classes |= rasterize([shapely.affinity.translate(turned, 45, 45)], out_shape=(100, 100), dtype="uint8") * 2
    rules = polygon_rules(InferenceConfig(square_classes=("roof",)), PIXELS, 1.0, ("road", "roof"))
    found = {f.properties["class"]: f.polygon for f in features(classes, rules, names=("road", "roof"))}
    assert len(found["roof"].exterior.coords) == 5 < len(found["road"].exterior.coords)


def test_a_class_that_is_not_there_cannot_be_squared() -> None:
    with pytest.raises(ConfigurationError, match="square_classes names barn; the model's classes are building"):
        polygon_rules(InferenceConfig(square_classes=("barn",)), PIXELS, 1.0, ("building",))
