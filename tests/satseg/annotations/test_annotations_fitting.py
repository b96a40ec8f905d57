from pathlib import Path

import pytest
from affine import Affine
from shapely.geometry import Polygon, box

from satseg.annotations.fitting import fit_labels
from satseg.annotations.labels import LabelFile, RawLabel, SceneFrame
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid, target_grid

CLASSES = ("building", "road")
SCENE = Grid(100, 80, Affine(0.5, 0, 500_000, 0, -0.5, 40_000), "EPSG:32636")
PIXELS = Grid(100, 80, Affine.identity(), None)
BOW_TIE = Polygon([(10, 10), (20, 20), (20, 10), (10, 20)])


def drawn(*areas: Polygon, name: str | None = "building", size: tuple[int, int] | None = (100, 80)) -> LabelFile:
    labels = tuple(RawLabel(area, name) for area in areas)
    return LabelFile(Path("a.json"), "LabelMe", None, False, size, labels)


def mapped(*areas: Polygon, crs: str = "EPSG:4326", stated: bool = False) -> LabelFile:
    return LabelFile(Path("a.geojson"), "GeoJSON", crs, stated, None, tuple(RawLabel(a, "road") for a in areas))


def frame(*grids: Grid) -> SceneFrame:
    """The last grid is the scene's."""
    return SceneFrame(("a.tif",), grids[-1], grids)


def test_pixels_become_coordinates_of_the_scene():
    table, report = fit_labels(drawn(box(10, 20, 30, 60)), frame(SCENE), CLASSES)
    assert table.polygons[0].geometry.equals(box(500_005, 39_970, 500_015, 39_990))
    assert (table.polygons[0].class_id, table.polygons[0].class_name) == (1, "building")
    assert (report.polygons, report.warnings(CLASSES)) == (1, [])


def test_labels_drawn_on_the_source_fit_the_resampled_scene():
    scene = target_grid(SCENE, None, 1.0)
    on_source, _ = fit_labels(drawn(box(10, 20, 30, 60)), frame(SCENE, scene), CLASSES)
    on_scene, _ = fit_labels(drawn(box(5, 10, 15, 30), size=(50, 40)), frame(SCENE, scene), CLASSES)
    assert on_source.polygons[0].geometry.equals(on_scene.polygons[0].geometry)


def test_pixels_of_a_reprojected_scene_arrive_in_its_crs():
    scene = target_grid(SCENE, "EPSG:3857", None)
    table, _ = fit_labels(drawn(box(0, 0, 100, 80)), frame(SCENE, scene), CLASSES)
    west, south, east, north = table.polygons[0].geometry.bounds
    assert (west, south, east, north) == pytest.approx(scene.bounds, abs=1.0)


def test_degrees_become_coordinates_of_the_scene():
    import pyproj

    back = pyproj.Transformer.from_crs("EPSG:32636", "EPSG:4326", always_xy=True)
    corners = [back.transform(x, y) for x, y in [(500_005, 39_970), (500_015, 39_970), (500_015, 39_990)]]
    table, _ = fit_labels(mapped(Polygon(corners)), frame(SCENE), CLASSES)
    assert table.polygons[0].geometry.bounds == pytest.approx((500_005, 39_970, 500_015, 39_990), abs=1e-3)


def test_a_bow_tie_is_repaired_and_counted():
    table, report = fit_labels(drawn(BOW_TIE), frame(PIXELS), CLASSES)
    assert table.polygons[0].geometry.is_valid
    assert table.polygons[0].geometry.area == pytest.approx(50)
    assert report.repaired == 1
    assert report.warnings(CLASSES) == ["1 polygon self-intersecting or otherwise invalid, repaired with make_valid"]


def test_a_polygon_without_area_is_dropped_and_counted():
    flat = Polygon([(1, 1), (5, 5), (9, 9)])
    table, report = fit_labels(drawn(flat, box(1, 1, 5, 5)), frame(PIXELS), CLASSES)
    assert (len(table), report.empty) == (1, 1)


def test_polygons_outside_are_dropped_and_counted():
    table, report = fit_labels(drawn(box(90, 70, 110, 90), box(100, 0, 120, 10)), frame(PIXELS), CLASSES)
    assert (len(table), report.outside) == (1, 1)  # the second only touches the scene


def test_an_unknown_class_is_dropped_counted_and_named_with_the_nearest():
    areas = (box(0, 0, 5, 5), box(6, 6, 9, 9))
    table, report = fit_labels(drawn(*areas, name="bulding"), frame(PIXELS), CLASSES)
    assert len(table) == 0
    assert report.warnings(CLASSES) == [
        "2 polygons of unknown class 'bulding' dropped (nearest known class: 'building')"
    ]
    _, other = fit_labels(drawn(box(0, 0, 5, 5), name="xyz"), frame(PIXELS), CLASSES)
    assert "known classes: building, road" in other.warnings(CLASSES)[0]


def test_a_name_of_the_file_may_mean_a_class_called_otherwise():
    meant = {"Flat Roof": "building", "house": "building"}
    for name in ("Flat Roof", "house", "building"):
        table, report = fit_labels(drawn(box(0, 0, 5, 5), name=name), frame(PIXELS), CLASSES, class_names=meant)
        assert [(polygon.class_id, polygon.class_name) for polygon in table.polygons] == [(1, "building")]
        assert not report.warnings(CLASSES)
    _, other = fit_labels(drawn(box(0, 0, 5, 5), name="flat roof"), frame(PIXELS), CLASSES, class_names=meant)
    assert other.unknown == {"flat roof": 1}


def test_polygons_without_a_class_take_the_only_one():
    table, report = fit_labels(drawn(box(0, 0, 5, 5), name=None), frame(PIXELS), ("building",))
    assert (len(table), report.unnamed) == (1, 1)
    _, two = fit_labels(drawn(box(0, 0, 5, 5), name=None), frame(PIXELS), CLASSES)
    assert two.unknown == {"(none)": 1}


@pytest.mark.parametrize(
    ("labels", "scene", "words"),
    [
        (
            drawn(box(0, 0, 5, 5), size=(50, 40)),
            SCENE,
            "image of 50 x 40 pixels, but the scene has 100 x 80",
        ),
        (drawn(box(200, 0, 205, 5)), SCENE, "none of its 1 polygon lies in the scene"),
        (mapped(box(10, 10, 11, 11)), SCENE, "none of its 1 polygon lies in the scene .*EPSG:4326"),
        (mapped(box(500_005, 39_970, 500_015, 39_990)), SCENE, "cannot be degrees"),
        (mapped(box(0, 0, 5, 5), crs="EPSG:3857", stated=True), PIXELS, "the scene has no CRS"),
    ],
)
def test_labels_that_cannot_belong_to_the_scene_are_refused(labels, scene, words):
    with pytest.raises(BadDataError, match=words):
        fit_labels(labels, frame(scene), CLASSES)


def test_a_shared_file_may_lie_elsewhere():
    here, there = box(500_005, 39_970, 500_015, 39_990), box(600_000, 0, 600_001, 1)
    table, report = fit_labels(mapped(here, there, crs="EPSG:32636", stated=True), frame(SCENE), CLASSES, shared=True)
    assert (len(table), report.outside, report.used) == (1, 0, {0})


def test_geojson_without_crs_for_a_scene_without_crs_is_in_pixels():
    table, _ = fit_labels(mapped(box(1, 2, 30, 40)), frame(PIXELS), CLASSES)
    assert table.polygons[0].geometry.equals(box(1, 2, 30, 40))
