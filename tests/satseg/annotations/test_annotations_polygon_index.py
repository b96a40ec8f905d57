"""The spatial index of polygons: the same as looking at each, read from a file without holding it."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from satseg.annotations.box_index import BoxIndex
from satseg.annotations.masks import PolygonIndex, rasterize
from satseg.annotations.table import AnnotationTable, LabelledPolygon, read_table, write_table
from satseg.errors import BadDataError

coordinates = st.floats(-1000, 1000, allow_nan=False, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    low = rng.uniform(-500, 500, (count, 2))
    size = rng.exponential(draw(st.sampled_from([0.0, 5.0, 400.0])), (count, 2))
    return np.hstack([low, low + size])


@settings(max_examples=150, deadline=None)
@given(boxes(), coordinates, coordinates, st.floats(0, 900), st.floats(0, 900))
def test_a_query_finds_exactly_the_boxes_that_meet_the_window(
    some: np.ndarray, x: float, y: float, width: float, height: float
) -> None:
    expected = [
        i
        for i, (x_min, y_min, x_max, y_max) in enumerate(some)
        if x_min <= x + width and x_max >= x and y_min <= y + height and y_max >= y
    ]
    assert BoxIndex(some).query(x, y, x + width, y + height).tolist() == expected


def test_boxes_without_bounds_are_never_found() -> None:
    some = np.array([[0, 0, 1, 1], [np.inf, np.inf, np.inf, np.inf]])
    assert BoxIndex(some).query(-1e9, -1e9, 1e9, 1e9).tolist() == [0]


def table_of(count: int) -> AnnotationTable:
    rng = np.random.default_rng(count)
    polygons = []
    for number in range(count):
        x, y = rng.uniform(0, 300, 2)
        shape = shapely.affinity.rotate(shapely.box(x, y, x + 20, y + 9), rng.uniform(0, 90))
        if number % 7 == 0:
            shape = shapely.MultiPolygon([shape, shapely.box(x + 40, y, x + 45, y + 5)])
        polygons.append(LabelledPolygon(shape, 1 + number % 3, f"c{1 + number % 3}"))
    return AnnotationTable(tuple(polygons))


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_reading_line_by_line_gives_what_reading_whole_gives(tmp_path: Path, count: int) -> None:
    table = table_of(count)
    write_table(table, tmp_path / "t.geojson", "EPSG:3857")
    index, whole = PolygonIndex.read(tmp_path / "t.geojson"), read_table(tmp_path / "t.geojson")
    found = index.within(Affine.identity(), 400, 400)
    assert len(index) == len(whole) == len(found)
    assert [(p.class_id, p.class_name, p.geometry.wkb) for p in found] == [
        (p.class_id, p.class_name, p.geometry.wkb) for p in whole
    ]
    assert (index.rasterize(Affine.identity(), 400, 400) == rasterize(table, Affine.identity(), 400, 400)).all()
    assert sum(len(ids) for _, ids in index.parts()) == count


def test_a_table_of_another_layout_is_read_too(tmp_path: Path) -> None:
    write_table(table_of(20), tmp_path / "t.geojson", None)
    (tmp_path / "u.geojson").write_text(json.dumps(json.loads((tmp_path / "t.geojson").read_text()), indent=1))
    masks = [
        PolygonIndex.read(tmp_path / name).rasterize(Affine.identity(), 400, 400) for name in ("t.geojson", "u.geojson")
    ]
    assert (masks[0] == masks[1]).all()
    assert masks[0].any()


@pytest.mark.parametrize(
    "text",
    ["{", '{"features": [\n{"type": "Feature"},\n]}', '{"type": "FeatureCollection", "features": [\n{\n]}', "{}"],
)
def test_a_damaged_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.geojson").write_text(text)
    with pytest.raises(BadDataError, match=r"t\.geojson is not an annotation table"):
        PolygonIndex.read(tmp_path / "t.geojson")
