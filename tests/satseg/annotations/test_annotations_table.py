import json

import pytest
from shapely.geometry import MultiPolygon, Polygon, box

from satseg.annotations.table import AnnotationTable, LabelledPolygon, read_table, write_table
from satseg.errors import BadDataError


def test_a_table_survives_writing_and_reading(tmp_path):
    holed = Polygon(box(0, 0, 9, 9).exterior, [box(2, 2, 3, 3).exterior.coords])
    table = AnnotationTable(
        (
            LabelledPolygon(holed, 1, "building"),
            LabelledPolygon(MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 6)]), 2, "road"),
        )
    )
    path = tmp_path / "a.geojson"
    write_table(table, path, "EPSG:32636")
    assert read_table(path) == table
    tree = json.loads(path.read_text())
    assert tree["crs"]["properties"]["name"] == "EPSG:32636"
    first = path.read_bytes()
    write_table(table, path, "EPSG:32636")
    assert path.read_bytes() == first


def test_pixel_coordinates_are_marked(tmp_path):
    write_table(AnnotationTable(), tmp_path / "a.geojson", None)
    tree = json.loads((tmp_path / "a.geojson").read_text())
    assert tree == {"type": "FeatureCollection", "satseg:coordinates": "pixels", "features": []}
    assert len(read_table(tmp_path / "a.geojson")) == 0


@pytest.mark.parametrize("content", ["", "{}", '{"features": [{"geometry": null, "properties": {}}]}'])
def test_something_else_is_refused(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(content)
    with pytest.raises(BadDataError, match=r"a\.geojson is not an annotation table"):
        read_table(path)
