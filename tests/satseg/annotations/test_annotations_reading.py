import json
from pathlib import Path

import pytest

from satseg.annotations.reading import looks_like_labels
from satseg.annotations.reading import read_labels as read
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]


def read_labels(path: Path, class_property: str = "class", **how: object):
    return read(path, AnnotationConfig(class_property=class_property, **how), ("building", "road"))


def write(folder: Path, tree: object, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


def labelme(*shapes: dict, **more: object) -> dict:
    return {"version": "5.5.0", "shapes": list(shapes), "imageWidth": 10, "imageHeight": 8, **more}


def shape(points: list, kind: str | None = "polygon", label: str = "building") -> dict:
    return {"label": label, "points": points, "shape_type": kind}


def feature(geometry: dict | None, **properties: object) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: dict, **more: object) -> dict:
    return {"type": "FeatureCollection", "features": list(features), **more}


def test_labelme_polygons_rectangles_and_circles_are_areas(tmp_path):
    tree = labelme(
        shape(SQUARE), shape([[9, 7], [5, 3]], "rectangle"), shape([[5, 5], [5, 7]], "circle"), shape(SQUARE, None)
    )
    labels = read_labels(write(tmp_path, tree), "class")
    assert [round(label.geometry.area, 1) for label in labels.labels] == [16, 16, 12.5, 16]
    assert (labels.kind, labels.crs, labels.image_size, labels.not_areas) == ("LabelMe", None, (10, 8), 0)


def test_labelme_lines_and_points_are_counted(tmp_path):
    tree = labelme(shape([[1, 1]], "point"), shape(SQUARE, "linestrip"), shape([[0, 0], [1, 1]]), shape(SQUARE))
    labels = read_labels(write(tmp_path, tree), "class")
    assert (len(labels.labels), labels.not_areas) == (1, 3)


def test_geojson_is_in_epsg_4326_unless_it_says_otherwise(tmp_path):
    area = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    plain = read_labels(write(tmp_path, collection(feature(area, kind="road"))), "kind")
    assert (plain.crs, plain.crs_stated, plain.labels[0].name) == ("EPSG:4326", False, "road")
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}}
    assert read_labels(write(tmp_path, collection(feature(area), crs=crs)), "class").crs == "EPSG:32636"


def test_geojson_heights_go_and_points_and_nulls_are_counted(tmp_path):
    high = {"type": "MultiPolygon", "coordinates": [[[[*point, 7.5] for point in [*SQUARE, SQUARE[0]]]]]}
    tree = collection(feature(high), feature(None), feature({"type": "Point", "coordinates": [1, 2]}))
    labels = read_labels(write(tmp_path, tree), "class")
    assert labels.not_areas == 2
    assert not labels.labels[0].geometry.has_z
    assert labels.labels[0].name is None


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ("{ not json", "not valid JSON"),
        ("", "not valid JSON"),
        ("[1, 2]", "a JSON list, not an object"),
        ({"some": "thing"}, "neither LabelMe .* its keys: some"),
        ({"shapes": 5}, "'shapes' is not a list"),
        ({"shapes": [{"label": "building"}]}, "shape 0 cannot be read"),
        ({"shapes": [{"label": "b", "points": [[1, 2], [3, "x"], [4, 5]]}]}, "shape 0 cannot be read"),
        ({"shapes": [{"label": "b", "points": [[1, 2], [3, float("nan")], [4, 5]]}]}, "not a finite number"),
        ({"type": "FeatureCollection", "features": {}}, "'features' is not a list"),
        (collection({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[1]]}}), "feature 0 cannot"),
        (collection(crs={"type": "name", "properties": {"name": "EPSG:999999"}}), "crs member .* is unknown"),
        ({"type": "Feature", "stac_version": "1.1.0", "id": "x"}, "neither LabelMe"),
    ],
)
def test_an_unreadable_label_file_is_refused_with_the_reason(tmp_path, tree, words):
    with pytest.raises(BadDataError, match=words):
        read_labels(write(tmp_path, tree), "class")


def test_other_json_files_do_not_look_like_labels(tmp_path):
    assert looks_like_labels(write(tmp_path, labelme()))
    assert looks_like_labels(write(tmp_path, collection()))
    assert looks_like_labels(write(tmp_path, "broken", "b.geojson"))
    assert not looks_like_labels(write(tmp_path, {"settings": 1}))
    assert not looks_like_labels(write(tmp_path, "broken", "b.json"))
