import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from satseg.annotations.masks import PolygonIndex, rasterize, window_transform
from satseg.annotations.table import AnnotationTable, LabelledPolygon

TRANSFORM = Affine(0.5, 0, 1000, 0, -0.5, 2000)


def slow(polygons, transform, height, width):
    """Ask for every pixel centre which polygon holds it last."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for row in range(height):
        for col in range(width):
            centre = Point(transform @ (col + 0.5, row + 0.5))
            for polygon in polygons:
                if polygon.geometry.contains(centre):
                    mask[row, col] = polygon.class_id
    return mask


def random_table(seed: int, count: int = 12) -> AnnotationTable:
    rng = np.random.default_rng(seed)
    polygons = []
    for _ in range(count):
        # coordinates off the pixel centres, where the rule is without doubt
        corners = [1000, 1985] + rng.random((4, 2)) * 15
        shape = shapely.convex_hull(shapely.MultiPoint(corners))
        polygons.append(LabelledPolygon(shape, int(rng.integers(1, 4)), "x"))
    return AnnotationTable(tuple(polygons))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_pixel_takes_the_class_of_the_last_polygon_that_holds_its_centre(seed):
    table = random_table(seed)
    assert np.array_equal(rasterize(table, TRANSFORM, 30, 30), slow(table, TRANSFORM, 30, 30))


def test_holes_stay_background():
    ring = Polygon(box(1000, 1990, 1010, 2000).exterior, [box(1003, 1993, 1007, 1997).exterior.coords])
    mask = rasterize([LabelledPolygon(ring, 1, "x")], TRANSFORM, 20, 20)
    assert mask[10, 10] == 0
    assert mask.sum() == 400 - 64


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), row=st.integers(-5, 30), col=st.integers(-5, 30), size=st.integers(1, 16))
def test_the_index_gives_windows_of_the_whole_mask(seed, row, col, size):
    table = random_table(seed)
    whole = rasterize(table, window_transform(TRANSFORM, -32, -32), 96, 96)
    window = PolygonIndex(table).rasterize(window_transform(TRANSFORM, row, col), size, size)
    assert np.array_equal(window, whole[32 + row : 32 + row + size, 32 + col : 32 + col + size])


def test_the_index_touches_only_polygons_of_the_window():
    near, far = box(1000, 1995, 1005, 2000), box(1100, 1900, 1105, 1905)
    table = AnnotationTable((LabelledPolygon(far, 1, "x"), LabelledPolygon(near, 1, "x")))
    assert [polygon.geometry for polygon in PolygonIndex(table).within(TRANSFORM, 20, 20)] == [near]


def test_no_polygon_gives_an_empty_mask():
    assert not PolygonIndex(AnnotationTable()).rasterize(TRANSFORM, 4, 5).any()
    assert rasterize([], TRANSFORM, 4, 5).shape == (4, 5)
