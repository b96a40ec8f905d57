"""The same polygons in every label format give the same mask, pixel for pixel, and the mask rasterio makes of them."""

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon, box

from label_makers import (
    CLASSES,
    SCENE,
    SIZE,
    Drawn,
    by_strips,
    coco,
    geojson,
    labelme,
    on_ground,
    raster,
    table_of,
    truth,
    vector,
)
from satseg.annotations.masks import rasterize, window_transform
from satseg.annotations.table import AnnotationTable, LabelledPolygon
from satseg.scenes.grid import Grid

EIGHT_CRS = (
    "EPSG:4326",
    "EPSG:3857",
    "EPSG:32632",
    "EPSG:32633",
    "EPSG:3035",  # axes north, east
    "EPSG:2056",  # oblique, another datum
    "EPSG:31467",  # Bessel's ellipsoid, axes north, east
    "+proj=laea +lat_0=90 +lon_0=0 +datum=WGS84 +units=us-ft",
)
LATTICE = 8  # vertices on eighths of a pixel: edges run through pixel centres, or clearly beside them
TOLERANCE_PX = 0.02
ONE_BY_ONE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def stars(draw: st.DrawFn, holes: bool = True) -> Polygon:
    """A polygon around a point that may reach over the scene's edge, with a hole in half of the cases."""
    x, y = (draw(st.integers(0, SIZE * LATTICE)) / LATTICE for _ in range(2))
    radii = draw(st.lists(st.integers(3, 45), min_size=3, max_size=12))
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + draw(st.floats(0, 6))

    def ring(scale: float) -> np.ndarray:
        corners = np.column_stack([np.cos(angles), np.sin(angles)]) * np.array(radii)[:, None] * scale
        return np.round((corners + np.array([x, y])) * LATTICE) / LATTICE

    hole = draw(st.sampled_from([None, 0.3, 0.6])) if holes else None
    polygon = Polygon(ring(1.0), [] if hole is None else [ring(hole)])
    assume(polygon.is_valid and polygon.area > 1 and polygon.intersects(box(1, 1, SIZE - 1, SIZE - 1)))
    return polygon


def drawings(holes: bool = True, most: int = 4) -> st.SearchStrategy[Drawn]:
    return st.lists(st.tuples(stars(holes), st.sampled_from(CLASSES)), min_size=1, max_size=most)


@pytest.mark.slow
@ONE_BY_ONE
@given(drawn=drawings(holes=False))
def test_all_formats_of_the_same_polygons_agree(tmp_path: Path, drawn: Drawn):
    expected = truth(drawn)
    files = [
        labelme(tmp_path / "a.json", drawn),
        geojson(tmp_path / "a.geojson", drawn),
        coco(tmp_path / "polygons.json", drawn),
        coco(tmp_path / "runs.json", drawn, "runs"),
        coco(tmp_path / "text.json", drawn, "text"),
        raster(tmp_path / "a_mask.tif", expected, SCENE),
        raster(tmp_path / "a_mask.png", expected),
    ]
    for file in files:
        assert np.array_equal(by_strips(table_of(file), SIZE), expected), file.name


@pytest.mark.slow
@settings(ONE_BY_ONE, max_examples=15)
@given(drawn=drawings())
def test_holes_survive_every_format_that_can_hold_them(tmp_path: Path, drawn: Drawn):
    expected = truth(drawn)
    for name in ("a.gpkg", "a.shp"):
        for file in tmp_path.glob("a.*"):
            file.unlink()
        assert np.array_equal(by_strips(table_of(vector(tmp_path / name, drawn)), SIZE), expected), name
    for form in ("runs", "text"):
        assert np.array_equal(by_strips(table_of(coco(tmp_path / "c.json", drawn, form)), SIZE), expected)
    assert np.array_equal(by_strips(table_of(geojson(tmp_path / "g.geojson", drawn)), SIZE), expected)
    assert np.array_equal(by_strips(table_of(raster(tmp_path / "m.tif", expected, SCENE)), SIZE), expected)


@settings(ONE_BY_ONE, max_examples=80)
@given(drawn=drawings(), crs=st.sampled_from(EIGHT_CRS), rows=st.integers(1, SIZE))
def test_polygons_from_any_crs_by_strips_of_any_height(tmp_path: Path, drawn: Drawn, crs: str, rows: int):
    table = table_of(geojson(tmp_path / "a.geojson", drawn, crs))
    whole = rasterize(table, SCENE.transform, SIZE, SIZE)
    assert np.array_equal(by_strips(table, rows), whole)
    expected = truth(drawn)
    if crs == SCENE.crs:
        assert np.array_equal(whole, expected)
    # from another CRS a pixel may differ only where an edge runs through its centre, within the transform's precision
    edges = shapely.union_all([area.boundary for area, _ in drawn])
    far = [edges.distance(Point(col + 0.5, row + 0.5)) for row, col in np.argwhere(whole != expected)]
    assert max(far, default=0) < TOLERANCE_PX


@settings(ONE_BY_ONE, max_examples=20)
@given(drawn=drawings(most=2), crs=st.sampled_from(EIGHT_CRS))
def test_the_tolerance_would_show_a_shift_of_a_tenth_of_a_pixel(tmp_path: Path, drawn: Drawn, crs: str):
    moved = [(shapely.transform(area, lambda xy: xy + 0.1), name) for area, name in drawn]
    whole = rasterize(table_of(geojson(tmp_path / "a.geojson", moved, crs)), SCENE.transform, SIZE, SIZE)
    edges = shapely.union_all([area.boundary for area, _ in drawn])
    far = [edges.distance(Point(col + 0.5, row + 0.5)) for row, col in np.argwhere(whole != truth(drawn))]
    assume(far)
    assert max(far) < 0.2  # the measure itself works: no pixel differs farther from an edge than the shift
    if len(far) > 60:
        assert max(far) > TOLERANCE_PX


@ONE_BY_ONE
@given(
    corners=st.lists(st.tuples(*[st.integers(0, 2 * SIZE)] * 2), min_size=3, max_size=6, unique=True),
    rows=st.integers(1, SIZE),
)
def test_edges_through_pixel_centres_fall_alike_in_every_strip(corners: list[tuple[int, int]], rows: int):
    """On a scene whose coordinates are no round numbers, half pixels come back from the table as 12.4999999998."""
    grid = Grid(SIZE, SIZE, Affine(0.07464553541, 0, 3630123.4567, 0, -0.07464553541, 23456.789), "EPSG:3857")
    area = shapely.convex_hull(shapely.MultiPoint(np.array(corners) / 2))
    assume(area.area > 0)
    table = AnnotationTable((LabelledPolygon(on_ground(area, "EPSG:3857", grid), 1, "building"),))
    whole = rasterize(table, grid.transform, SIZE, SIZE)
    assert np.array_equal(by_strips(table, rows, grid), whole)
    assert np.array_equal(whole, truth([(area, "building")]))


def test_a_multipolygon_with_overlapping_parts_stays_filled(tmp_path):
    parts = MultiPolygon([box(10, 10, 30, 30), box(20, 20, 40, 40)])
    table = table_of(geojson(tmp_path / "a.geojson", [(parts, "road")]))
    assert np.array_equal(by_strips(table, 7), truth([(box(10, 10, 30, 30), "road"), (box(20, 20, 40, 40), "road")]))


def test_long_edges_follow_the_curve_they_are_in_the_scenes_crs(tmp_path):
    """An edge of 70 km along a parallel bends by 150 m, five pixels."""
    scene = Grid(2600, 700, Affine(30, 0, 560_000, 0, -30, 6_595_000), "EPSG:32632")
    corners = box(10.2, 59.35, 11.4, 59.45)
    (tmp_path / "a.geojson").write_text(json.dumps({**plain_feature(corners), "crs": None}))
    mask = rasterize(table_of(tmp_path / "a.geojson", scene), scene.transform, 700, 2600)
    to_scene = pyproj.Transformer.from_crs("EPSG:4326", scene.crs, always_xy=True)

    def farthest(area: Polygon) -> float:
        """How far from the true edge a pixel lies that differs from the mask."""
        there = shapely.transform(area, lambda xy: np.column_stack(to_scene.transform(*xy.T)))
        other = rasterize([LabelledPolygon(there, 1, "building")], scene.transform, 700, 2600)
        rows, cols = np.nonzero(other != mask)
        centres = shapely.points(*(scene.transform @ (cols + 0.5, rows + 0.5)))
        return max(shapely.distance(dense.boundary, centres) / 30, default=0)

    dense = shapely.transform(
        shapely.segmentize(corners, 0.0005), lambda xy: np.column_stack(to_scene.transform(*xy.T))
    )
    assert farthest(shapely.segmentize(corners, 0.0005)) < TOLERANCE_PX
    assert farthest(corners) > 3


def plain_feature(area: Polygon) -> dict:
    feature = {"type": "Feature", "properties": {"class": "building"}, "geometry": shapely.geometry.mapping(area)}
    return {"type": "FeatureCollection", "features": [feature]}


def test_windows_anywhere_equal_the_whole():
    area = LabelledPolygon(
        on_ground(Polygon([(5, 5), (90, 20), (60, 90)], [[(30, 20), (60, 30), (50, 60)]])), 2, "road"
    )
    whole = rasterize([area], SCENE.transform, SIZE, SIZE)
    window = rasterize([area], window_transform(SCENE.transform, 13, 29), 40, 50)
    assert np.array_equal(window, whole[13:53, 29:79])


@pytest.mark.parametrize("crs", EIGHT_CRS)
def test_pixel_aligned_polygons_are_exact_from_every_crs(tmp_path, crs):
    drawn = [(box(3, 4, 50, 60).difference(box(10, 10, 20, 33)), "building"), (box(60, 2, 90, 95), "road")]
    assert np.array_equal(by_strips(table_of(geojson(tmp_path / "a.geojson", drawn, crs)), 17), truth(drawn))
