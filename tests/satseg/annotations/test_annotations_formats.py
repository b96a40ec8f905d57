"""What each format can say, and what is done about files that say it badly."""

import json
import shutil

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.geometry import LineString, MultiLineString, Polygon, box

from label_makers import (
    CLASSES,
    SCENE,
    SIZE,
    by_strips,
    coco,
    coco_tree,
    dump,
    encoded,
    geojson,
    on_ground,
    table_of,
    truth,
    vector,
)
from satseg.annotations.fitting import fit_labels
from satseg.annotations.labels import SceneFrame
from satseg.annotations.reading import read_labels
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid

HOLED = box(10, 10, 60, 70).difference(box(20, 20, 30, 40))
DRAWN = [(HOLED, "building"), (box(50, 50, 90, 90), "road")]
PIXELS = Grid(SIZE, SIZE, Affine.identity(), None)
FRAME = SceneFrame(("a.tif",), SCENE, (SCENE,))
FLAT = [10, 10, 40, 10, 40, 40, 10, 40]


def read(path, **how):
    return read_labels(path, AnnotationConfig(**how), CLASSES)


def mask_of(path, **how) -> np.ndarray:
    return by_strips(table_of(path, **how), SIZE)


class TestVectorFiles:
    @pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
    @pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3035", "EPSG:31467"])
    def test_holes_classes_and_crs(self, tmp_path, name, crs):
        assert np.array_equal(mask_of(vector(tmp_path / name, DRAWN, crs)), truth(DRAWN))

    def test_the_class_column_is_found_in_other_letters_and_cut_to_ten(self, tmp_path):
        path = vector(tmp_path / "a.shp", DRAWN, column="building_t")
        assert np.array_equal(mask_of(path, class_property="building_type"), truth(DRAWN))
        path = vector(tmp_path / "a.gpkg", DRAWN, column="Class")
        assert np.array_equal(mask_of(path), truth(DRAWN))

    def test_a_file_without_the_column_has_labels_without_a_class(self, tmp_path):
        labels = read(vector(tmp_path / "a.gpkg", DRAWN, column="kind"))
        assert [label.name for label in labels.labels] == [None, None]

    def test_nothing_is_written_beside_a_source(self, tmp_path):
        path = vector(tmp_path / "a.gpkg", DRAWN)
        before = sorted(tmp_path.iterdir()), path.read_bytes()
        read(path)
        assert (sorted(tmp_path.iterdir()), path.read_bytes()) == before

    def test_one_layer_with_areas_is_taken_and_points_beside_it_are_not(self, tmp_path):
        path = vector(tmp_path / "a.gpkg", DRAWN, layer="roofs", geometry_type="Polygon")
        add_points(path, "corners")
        assert len(read(path).labels) == 2

    def test_several_layers_need_a_name(self, tmp_path):
        path = vector(tmp_path / "a.gpkg", DRAWN, layer="2023")
        vector(path, DRAWN[:1], layer="2024", append=True)
        with pytest.raises(BadDataError, match=r"has 2 layers that could hold the labels \(2023, 2024\).*layer: …"):
            read(path)
        assert len(read(path, layer="2024").labels) == 1
        with pytest.raises(BadDataError, match=r"no layer '2025'.*its layers: 2023, 2024"):
            read(path, layer="2025")
        vector(path, [], layer="a", append=True)
        assert read(path).labels == ()  # the one called like the file

    @pytest.mark.parametrize(("name", "words"), [("a.shp", "has no .prj file"), ("a.gpkg", "says no CRS")])
    def test_without_a_crs_the_project_must_say_it(self, tmp_path, name, words):
        path = vector(tmp_path / name, DRAWN, crs=None)
        assert not (tmp_path / "a.prj").exists()
        with pytest.raises(BadDataError, match=words):
            table_of(path)
        assert np.array_equal(mask_of(path, crs="EPSG:32632"), truth(DRAWN))

    def test_without_a_crs_labels_of_a_scene_without_one_are_in_pixels(self, tmp_path):
        plain = Grid(SIZE, SIZE, Affine.identity(), None)
        shapely_areas = [(shapely.transform(area, lambda xy: xy), name) for area, name in DRAWN]
        path = tmp_path / "a.gpkg"
        vector(path, [(to_pixels(area), name) for area, name in shapely_areas], crs=None)
        assert np.array_equal(by_strips(table_of(path, plain), 9, plain), truth(DRAWN))

    @pytest.mark.parametrize("missing", [".shx", ".dbf"])
    def test_a_shapefile_is_a_set_of_files(self, tmp_path, missing):
        path = vector(tmp_path / "a.shp", DRAWN)
        (tmp_path / f"a{missing}").unlink()
        with pytest.raises(BadDataError, match=rf"a\.shp: a\{missing} missing; a Shapefile is a set of files"):
            read(path)

    def test_a_geopackage_that_is_open_elsewhere_is_refused(self, tmp_path):
        path = vector(tmp_path / "a.gpkg", DRAWN)
        (tmp_path / "a.gpkg-wal").write_bytes(b"changes")
        with pytest.raises(BadDataError, match=r"open in another program, which holds changes in a\.gpkg-wal"):
            read(path)

    @pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
    @pytest.mark.parametrize("tenth", range(10))
    def test_a_file_cut_anywhere_is_refused_or_read_whole(self, tmp_path, name, tenth):
        path = vector(tmp_path / name, DRAWN * 200)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * tenth // 10])
        try:
            labels = read(path)
        except BadDataError as error:
            assert name in str(error)
        else:
            assert len(labels.labels) == 400

    @pytest.mark.parametrize("suffix", [".shx", ".dbf"])
    def test_a_cut_part_of_a_shapefile_is_named(self, tmp_path, suffix):
        path = vector(tmp_path / "a.shp", DRAWN * 200)
        part = tmp_path / f"a{suffix}"
        part.write_bytes(part.read_bytes()[:-40])
        with pytest.raises(BadDataError, match=rf"a\{suffix} has \d+ bytes and should have \d+: it is truncated"):
            read(path)

    @pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
    def test_something_else_is_refused_by_content(self, tmp_path, name):
        (tmp_path / "a.shx").touch()
        (tmp_path / "a.dbf").touch()
        dump(tmp_path / name, '<OGRVRTDataSource><OGRVRTLayer name="passwd"/></OGRVRTDataSource>')
        with pytest.raises(BadDataError, match="whatever its name says"):
            read(tmp_path / name)
        (tmp_path / name).write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
        with pytest.raises(BadDataError, match=r"cannot be read as a GeoPackage|is not a Shapefile"):
            read(tmp_path / name)

    def test_a_coordinate_that_is_no_number_is_refused(self, tmp_path):
        bad = Polygon([(1, 1), (5, 1), (float("nan"), 5), (1, 5)])
        with pytest.raises(BadDataError, match="feature 0 has a coordinate that is not a finite number"):
            read(vector(tmp_path / "a.gpkg", [(bad, "road")]))


def to_pixels(area):
    """The writer brings pixels to the ground; this undoes it."""
    back = ~SCENE.transform
    return shapely.transform(area, lambda xy: np.array([back @ tuple(point) for point in xy]))


def add_points(path, layer: str) -> None:
    import pyogrio

    pyogrio.raw.write(
        path,
        shapely.to_wkb([shapely.Point(1, 2)]),
        [],
        [],
        driver="GPKG",
        layer=layer,
        geometry_type="Point",
        crs="EPSG:32632",
        append=True,
    )


class TestCoco:
    def test_each_scene_gets_its_own_image(self, tmp_path):
        tree = coco_tree([annotation(0, 7), annotation(1, 8, category_id=4)])
        tree["images"].append({"id": 8, "file_name": "photos\\B.TIF", "width": SIZE, "height": SIZE})
        tree["images"].append({"id": 9, "file_name": "checked.tif", "width": SIZE, "height": SIZE})
        file = read(dump(tmp_path / "annotations.json", tree))
        names = {
            name: [label.name for label in file.for_scene(SceneFrame((name,), SCENE, (SCENE,), own_file=False)).labels]
            for name in ("a.tif", "b.tif", "checked.tif")
        }
        assert names == {"a.tif": ["building"], "b.tif": ["road"], "checked.tif": []}
        assert file.for_scene(SceneFrame(("c.tif",), SCENE, (SCENE,), own_file=False)) is None
        assert file.for_scene(SceneFrame(("a.png",), SCENE, (SCENE,), own_file=False)) is not None  # by its stem

    def test_the_only_image_of_a_scenes_own_file_may_have_any_name(self, tmp_path):
        file = read(dump(tmp_path / "a.json", coco_tree([annotation(0, 7)], "task_1.jpg")))
        assert len(file.for_scene(FRAME).labels) == 1

    def test_two_images_of_one_name_are_refused(self, tmp_path):
        tree = coco_tree([])
        tree["images"].append({"id": 8, "file_name": "north/a.tif"})
        with pytest.raises(BadDataError, match="2 of its images are named like the scene"):
            read(dump(tmp_path / "a.json", tree)).for_scene(FRAME)

    def test_parts_that_overlap_are_joined_and_not_counted_as_repaired(self, tmp_path):
        parts = [FLAT, [30, 30, 60, 30, 60, 60, 30, 60]]
        labels = read(dump(tmp_path / "a.json", coco_tree([annotation(0, 7, segmentation=parts)]))).for_scene(FRAME)
        table, report = fit_labels(labels, FRAME, CLASSES)
        assert (len(table), report.repaired) == (1, 0)
        expected = truth([(box(10, 10, 40, 40), "building"), (box(30, 30, 60, 60), "building")])
        assert np.array_equal(by_strips(table, SIZE), expected)

    def test_crowds_are_areas_like_others(self, tmp_path):
        crowd = annotation(0, 7, iscrowd=1, segmentation=encoded(truth([(HOLED, "building")]) > 0, "runs"))
        assert np.array_equal(mask_of(dump(tmp_path / "a.json", coco_tree([crowd]))), truth([(HOLED, "building")]))

    def test_a_mask_larger_than_a_tile_survives(self, tmp_path):
        mask = np.zeros((1500, 2300), dtype=bool)
        mask[3:1400, 5:2290] = True
        mask[100:900, 50:1800:2] = False
        tree = coco_tree([annotation(0, 7, segmentation=encoded(mask, "text"))])
        tree["images"][0] |= {"width": 2300, "height": 1500}
        scene = Grid(2300, 1500, Affine.identity(), None)
        table = table_of(dump(tmp_path / "a.json", tree), scene)
        assert len(table) == 1
        assert np.array_equal(by_strips(table, 400, scene), mask)

    def test_annotations_of_no_image_are_counted(self, tmp_path):
        file = read(dump(tmp_path / "a.json", coco_tree([annotation(0, 7), annotation(1, 70)])))
        assert file.for_scene(FRAME).notes == ("1 annotations of a.json belong to no image of the file",)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"category_id": 99}, r"annotation 0 has the category_id 99, .* 3 \(building\), 4 \(road\)"),
            ({"category_id": None}, "category_id None"),
            ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "7 numbers, which are not pairs"),
            ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "cannot be read"),
            ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "annotation 0 has a coordinate that is not a finite"),
            ({"segmentation": "abc"}, "a list of polygons or an RLE, not str"),
            ({"segmentation": {"size": [SIZE, SIZE], "counts": [5, 6]}}, "sum up to 11 pixels, its size says 9216"),
            ({"segmentation": {"size": [48, SIZE], "counts": [48 * SIZE]}}, "RLE is 96 x 48 pixels, the image 96 x 96"),
            ({"segmentation": {"size": [SIZE], "counts": [5]}}, "cannot be read"),
            ({"segmentation": {"counts": [5]}}, "cannot be read"),
            ({"segmentation": None}, "not NoneType"),
        ],
    )
    def test_an_annotation_that_cannot_be_read_is_named(self, tmp_path, changes, words):
        path = dump(tmp_path / "a.json", coco_tree([annotation(0, 7) | changes]))
        with pytest.raises(BadDataError, match=words):
            read(path).for_scene(FRAME)

    def test_annotations_with_only_a_bounding_box_are_counted_and_left_out(self, tmp_path):
        box_of = {"bbox": [10, 10, 30, 30]}
        entries = [
            annotation(0, 7),
            annotation(1, 7, segmentation=[], **box_of),
            annotation(2, 7, segmentation=None, **box_of),
        ]
        labels = read(dump(tmp_path / "a.json", coco_tree(entries))).for_scene(FRAME)
        table, report = fit_labels(labels, FRAME, CLASSES)
        assert (len(table), labels.not_areas) == (1, 0)
        assert "2 polygons with only a bounding box, dropped" in report.warnings(CLASSES)

    @pytest.mark.parametrize(
        "tree",
        [
            {"images": 5, "annotations": []},
            {"images": [], "annotations": {}, "categories": [{"id": 1}]},
            {"images": [{"file_name": "a.tif"}], "annotations": []},
            {"images": [{"id": []}], "annotations": []},
            {"images": [], "annotations": [{"id": 1}]},
        ],
    )
    def test_a_file_without_cocos_form_is_refused(self, tmp_path, tree):
        with pytest.raises(BadDataError, match="not COCO's form"):
            read(dump(tmp_path / "a.json", tree))


def annotation(number: int, image: int, **more) -> dict:
    return {"id": number, "image_id": image, "category_id": 3, "segmentation": [FLAT], "iscrowd": 0} | more


class TestLines:
    LINE = LineString([(10, 10), (80, 10), (80, 70)])

    def test_lines_are_dropped_and_counted_unless_a_width_is_declared(self, tmp_path):
        path = geojson(tmp_path / "a.geojson", [(self.LINE, "road"), *DRAWN])
        assert (len(read(path).labels), read(path).not_areas) == (2, 1)
        assert (len(read(path, line_buffer=1.0).labels), read(path, line_buffer=1.0).not_areas) == (3, 0)

    @pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3035"])
    def test_lines_are_widened_by_metres_on_the_ground(self, tmp_path, crs):
        path = geojson(tmp_path / "a.geojson", [(self.LINE, "road")], crs)
        expected = truth([(self.LINE.buffer(2 / 0.5), "road")])
        wrong = mask_of(path, line_buffer=2.0) != expected
        edge = self.LINE.buffer(4).boundary
        assert max((edge.distance(shapely.Point(x + 0.5, y + 0.5)) for y, x in np.argwhere(wrong)), default=0) < 0.05

    def test_a_scene_in_degrees_widens_by_metres_too(self, tmp_path):
        scene = Grid(SIZE, SIZE, Affine(1e-5, 0, 9.0, 0, -5e-6, 60.0), "EPSG:4326")  # about 0.56 m both ways
        line = LineString([(9.0001, 59.9999), (9.0008, 59.9996)])
        feature = {"type": "Feature", "properties": {"class": "road"}, "geometry": shapely.geometry.mapping(line)}
        path = dump(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [feature]})
        (polygon,) = table_of(path, scene, line_buffer=3.0)
        metres = shapely.transform(polygon.geometry, lambda xy: xy * [111_319.49 * 0.5, 111_319.49])
        assert metres.area == pytest.approx(
            shapely.transform(line, lambda xy: xy * [55_659.7, 111_319.5]).length * 6 + np.pi * 9, rel=0.01
        )

    def test_labelme_lines_are_widened_by_pixels_without_a_crs(self, tmp_path):
        points = [list(point) for point in self.LINE.coords]
        shapes = [
            {"label": "road", "shape_type": "linestrip", "points": points},
            {"label": "road", "shape_type": "line", "points": points[:2]},
        ]
        path = dump(tmp_path / "a.json", {"shapes": shapes, "imageWidth": SIZE, "imageHeight": SIZE})
        table = table_of(path, PIXELS, line_buffer=4.0)
        assert np.array_equal(by_strips(table, SIZE, PIXELS), truth([(self.LINE.buffer(4), "road")]))

    def test_multilines_of_a_geopackage(self, tmp_path):
        lines = MultiLineString([self.LINE, [(5, 90), (90, 90)]])
        path = vector(tmp_path / "a.gpkg", [(lines, "road")])
        assert np.array_equal(mask_of(path, line_buffer=1.0), truth([(lines.buffer(2), "road")]))
        assert len(read(path).labels) == 0


class TestJson:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("[" * 200_000, "not valid JSON"),
            ('{"a":' * 100_000, "not valid JSON"),
            (json.dumps({"shapes": [{"label": "x", "points": [[0, 10**400], [1, 1], [2, 2]]}]}), "shape 0 cannot"),
            ('{"shapes": [{"label": "x", "points": [[0, 1e999], [1, 1], [2, 2]]}]}', "not a finite number"),
            ('{"type":"FeatureCollection","features":[{"geometry":{"type":"Polygon","coordinates":'
             + "[" * 900 + "]" * 900 + "}}]}", "feature 0 cannot be read"),
            ('{"type":"FeatureCollection","features":[{"geometry":{"type":"Polygon","coordinates":'
             "[[[0,0],[9,0],[NaN,9],[0,0]]]}}]}", "feature 0 has a coordinate that is not a finite number"),
            ('{"type":"FeatureCollection","features":[{"geometry":{"type":"Blob","coordinates":[]}}]}', "feature 0"),
        ],
    )  # fmt: skip
    def test_one_clear_error(self, tmp_path, content, words):
        with pytest.raises(BadDataError, match=words):
            read(dump(tmp_path / "a.json", content))

    @pytest.mark.parametrize("form", ["labelme", "geojson", "coco"])
    def test_a_file_cut_anywhere_is_refused(self, tmp_path, form):
        whole = {"labelme": lambda: json.dumps({"shapes": [{"label": "road", "points": [[1, 1], [2, 1], [2, 2]]}]}),
                 "geojson": lambda: geojson(tmp_path / "w", DRAWN).read_text(),
                 "coco": lambda: coco(tmp_path / "w", DRAWN[1:]).read_text()}[form]()  # fmt: skip
        for tenth in range(10):
            with pytest.raises(BadDataError, match="not valid JSON"):
                read(dump(tmp_path / "a.json", whole[: len(whole) * tenth // 10]))

    def test_half_characters_of_a_class_name_do_not_break_the_output(self, tmp_path):
        path = dump(
            tmp_path / "a.json", '{"shapes": [{"label": "r\\ud800oad", "points": [[1, 1], [20, 1], [20, 20]]}]}'
        )
        labels = read(path)
        assert labels.labels[0].name == "r?oad"
        _, report = fit_labels(labels, FRAME, CLASSES)
        assert "unknown class 'r?oad' dropped (nearest known class: 'road')" in report.warnings(CLASSES)[0]

    def test_an_unreadable_file_is_refused(self, tmp_path):
        folder = tmp_path / "a.json"
        folder.mkdir()
        with pytest.raises(BadDataError, match="cannot be read"):
            read(folder)
        shutil.rmtree(folder)


@pytest.mark.slow
class TestLargeRings:
    def test_a_ring_of_a_million_points_is_read_and_burnt(self, tmp_path):
        angles = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
        radii = 30 + np.sin(angles * 5000)
        ring = np.column_stack([48 + radii * np.cos(angles), 48 + radii * np.sin(angles)])
        table = table_of(vector(tmp_path / "a.gpkg", [(Polygon(ring), "road")]))
        assert shapely.get_num_coordinates(table.polygons[0].geometry) == 1_000_001
        assert np.array_equal(by_strips(table, SIZE), truth([(Polygon(ring), "road")]))

    def test_a_scribble_of_a_million_points_is_refused_at_once(self, tmp_path):
        ring = np.random.default_rng(0).random((1_000_000, 2)) * SIZE
        with pytest.raises(BadDataError, match=r"polygon 0 has 1000001 points and crosses itself about .* times"):
            table_of(vector(tmp_path / "a.gpkg", [(Polygon(ring), "road")]))

    def test_a_shaky_ring_is_repaired(self, tmp_path):
        angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
        ring = np.column_stack([48 + 30 * np.cos(angles), 48 + 30 * np.sin(angles)])
        ring += np.random.default_rng(0).normal(0, 0.001, ring.shape)
        path = vector(tmp_path / "a.gpkg", [(Polygon(ring), "road")])
        table, report = fit_labels(read(path), FRAME, CLASSES)
        assert report.repaired == 1
        assert table.polygons[0].geometry.is_valid
        assert table.polygons[0].geometry.area == pytest.approx(np.pi * 15**2, rel=1e-3)


def test_a_folder_file_for_many_scenes_is_searched_by_its_index(tmp_path):
    """Every scene touches its own labels alone, in any CRS, and all of them."""
    side = 20
    boxes = [(box(5 + 96 * i, 5 + 96 * k, 60 + 96 * i, 80 + 96 * k), "road") for i in range(side) for k in range(side)]
    for crs in ("EPSG:32632", "EPSG:4326", "EPSG:3035"):
        labels = read(geojson(tmp_path / "labels.geojson", boxes, crs))
        used: set[int] = set()
        for i in range(side):
            grid = Grid(SIZE, SIZE, SCENE.transform @ Affine.translation(96 * i, 96 * 3), SCENE.crs)
            frame = SceneFrame(("a.tif",), grid, (grid,), own_file=False)
            table, report = fit_labels(labels, frame, CLASSES, shared=True)
            assert len(table) == 1
            used |= report.used
        assert len(used) == side


def test_a_scene_at_the_pole_finds_its_labels_in_degrees(tmp_path):
    scene = Grid(SIZE, SIZE, Affine(1000, 0, -48_000, 0, -1000, 48_000), "EPSG:3413")
    ring = [[lon, 89.8] for lon in range(-180, 181, 10)]
    cap = Polygon([*ring, (180, 90), (-180, 90)])
    feature = {"type": "Feature", "properties": {"class": "road"}, "geometry": shapely.geometry.mapping(cap)}
    labels = read(dump(tmp_path / "labels.geojson", {"type": "FeatureCollection", "features": [feature]}))
    table, _ = fit_labels(labels, SceneFrame(("a.tif",), scene, (scene,)), CLASSES, shared=True)
    mask = by_strips(table, 10, scene)
    assert mask[48 - 10, 48] == 2
    assert mask[2, 2] == 0
    radius = 0.2 * 111.69 * 0.97  # kilometres, on a map that is true at 70 degrees
    assert mask.astype(bool).sum() == pytest.approx(np.pi * radius**2, rel=0.02)


def test_ground_is_carried_by_the_scenes_own_transform(tmp_path):
    assert on_ground(box(0, 0, 1, 1)).bounds == (500_000, 5_599_999.5, 500_000.5, 5_600_000)
