"""Every label format through the whole stage, and labels alone for scenes the dataset has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from dataset_drops import write_scene
from shapely.geometry import box

from label_makers import (
    CLASSES,
    SIZE,
    by_strips,
    coco,
    coco_tree,
    dump,
    encoded,
    geojson,
    labelme,
    raster,
    truth,
    vector,
)
from satseg.annotations.table import read_table
from satseg.config.data import AnnotationConfig
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import open_version
from satseg.errors import ConfigurationError
from satseg.scenes.grid import Grid

pytestmark = pytest.mark.slow

DRAWN = [(box(10, 12, 40, 50), "building"), (box(55.5, 3.25, 90, 80), "road")]
HOLED = [(box(10, 12, 40, 50).difference(box(20, 20, 30, 33)), "building"), DRAWN[1]]


def grid(seed: int) -> Grid:
    """The grid of `write_scene(seed=seed)`."""
    return Grid(SIZE, SIZE, Affine(0.5, 0, 500_000 + 100 * seed, 0, -0.5, 40_000), "EPSG:32636")


@pytest.fixture
def project() -> ProjectConfig:
    return ProjectConfig(name="roofs", classes=CLASSES)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """One scene per label format, with its expected mask beside it in `EXPECTED`."""
    folder = tmp_path / "drop"
    for seed, name in enumerate(EXPECTED):
        write_scene(folder / f"{name}.tif", seed=seed)
    (folder / "masks").mkdir()
    labelme(folder / "labelme.json", DRAWN)
    geojson(folder / "geojson.geojson", HOLED, "EPSG:4326", grid(1))
    vector(folder / "geopackage.gpkg", HOLED, "EPSG:3857", grid=grid(2))
    vector(folder / "shapefile.shp", HOLED, "EPSG:32636", grid=grid(3))
    coco(folder / "coco.json", DRAWN, image="coco.tif")
    coco(folder / "rle.json", HOLED, "text", "whatever.png")
    raster(folder / "tif_mask.tif", truth(HOLED), grid(6))
    raster(folder / "masks" / "png.png", truth(HOLED))
    return folder


EXPECTED = {
    "labelme": DRAWN,
    "geojson": HOLED,
    "geopackage": HOLED,
    "shapefile": HOLED,
    "coco": DRAWN,
    "rle": HOLED,
    "tif": HOLED,
    "png": HOLED,
}


def masks(workspace) -> dict[str, np.ndarray]:
    """The masks of the newest version's labelled scenes."""
    seeds = {name: seed for seed, name in enumerate(EXPECTED)}
    return {
        scene.id: by_strips(read_table(scene.annotations), 20, grid(seeds[scene.id]))
        for scene in open_version(workspace, "roofs").scenes
        if scene.labelled
    }


def test_every_format_becomes_the_same_labels_and_no_mask_a_scene(workspace, ingest, drop):
    result = ingest(drop)
    assert (sorted(result.scenes), result.quarantined) == (sorted(EXPECTED), {})
    found = masks(workspace)
    for name, drawn in EXPECTED.items():
        assert np.array_equal(found[name], truth(drawn)), name
    assert not ingest(drop).changed


def test_labels_of_any_format_may_come_later_and_alone(workspace, ingest, drop, tmp_path):
    ingest(drop)
    later = tmp_path / "later"
    (later / "labels").mkdir(parents=True)
    vector(later / "labelme.shp", DRAWN[1:], "EPSG:4326", grid=grid(0))
    vector(later / "geojson.gpkg", DRAWN[1:], "EPSG:32636", grid=grid(1))
    raster(later / "geopackage_mask.png", truth(DRAWN[1:]))
    raster(later / "labels" / "shapefile.tif", truth(DRAWN[1:]), grid(3))
    coco(later / "coco.json", DRAWN[1:], "runs")
    result = ingest(later)
    changed = ["coco", "geojson", "geopackage", "labelme", "shapefile"]
    assert (result.dataset_version, sorted(result.new_scenes), result.quarantined) == ("v2", changed, {})
    found = masks(workspace)
    assert all(np.array_equal(found[name], truth(DRAWN[1:])) for name in changed)
    assert np.array_equal(found["rle"], truth(HOLED))


@pytest.mark.parametrize("name", ["annotations.json", "labels.gpkg", "labels.shp"])
def test_a_folder_file_serves_scenes_without_their_own_and_waits_for_no_raster(workspace, ingest, tmp_path, name):
    write_scene(tmp_path / "a" / "labelme.tif", seed=0)
    write_scene(tmp_path / "a" / "geojson.tif", seed=1)
    labelme(tmp_path / "a" / "labelme.json", DRAWN)
    ingest(tmp_path / "a")
    (tmp_path / "b").mkdir()
    write_folder_file(tmp_path / "b" / name)
    result = ingest(tmp_path / "b")
    assert (result.dataset_version, result.new_scenes) == ("v2", ["geojson"])
    assert np.array_equal(masks(workspace)["geojson"], truth(HOLED))
    assert np.array_equal(masks(workspace)["labelme"], truth(DRAWN))


def write_folder_file(path: Path) -> Path:
    """Labels of the scene "geojson", and some elsewhere."""
    if path.suffix != ".json":
        far = [(box(5000, 0, 5010, 10), "road")]
        return vector(path, HOLED + far, "EPSG:4326", grid=grid(1))
    entries = [
        {
            "id": i,
            "image_id": 7,
            "category_id": CLASSES.index(name) + 3,
            "segmentation": encoded(truth([(a, name)]) > 0, "text"),
        }
        for i, (a, name) in enumerate(HOLED)
    ]
    tree = coco_tree([*entries, dict(entries[0], image_id=8)], "scans/geojson.tif")
    tree["images"].append({"id": 8, "file_name": "elsewhere.tif", "width": SIZE, "height": SIZE})
    return dump(path, tree)


def test_a_checked_image_of_a_coco_file_is_a_negative_and_a_missing_one_is_unlabelled(workspace, ingest, tmp_path):
    for seed, name in enumerate(("labelme", "geojson")):
        write_scene(tmp_path / "d" / f"{name}.tif", seed=seed)
    dump(tmp_path / "d" / "annotations.json", coco_tree([], "labelme.tif"))
    ingest(tmp_path / "d")
    checked, missing = (
        next(s for s in open_version(workspace, "roofs").scenes if s.id == i) for i in ("labelme", "geojson")
    )
    assert (checked.labelled, len(read_table(checked.annotations))) == (True, 0)
    assert not missing.labelled


def test_bad_label_files_are_quarantined_whole_and_stop_nothing(workspace, ingest, tmp_path):
    folder = tmp_path / "d"
    names = ["good", "gpkg", "shx", "size", "values", "category", "runs", "jpeg"]
    for seed, name in enumerate(names):
        write_scene(folder / f"{name}.tif", seed=seed)
    labelme(folder / "good.json", DRAWN)
    dump(folder / "gpkg.gpkg", "no database")
    vector(folder / "shx.shp", DRAWN, "EPSG:32636", grid=grid(2))
    (folder / "shx.shx").unlink()
    (folder / "masks").mkdir()
    raster(folder / "masks" / "size.tif", np.zeros((SIZE, 40), np.uint8))
    raster(folder / "values_mask.png", truth(DRAWN) * 60)
    dump(folder / "category.json", coco_tree([{"image_id": 7, "category_id": 1, "segmentation": []}]))
    runs = {"image_id": 7, "category_id": 3, "segmentation": {"size": [SIZE, SIZE], "counts": [1]}}
    dump(folder / "runs.json", coco_tree([runs]))
    raster(folder / "jpeg_mask.jpg", truth(DRAWN), driver="JPEG")
    result = ingest(folder)
    assert result.scenes == ["good"]
    words = {
        "gpkg": "gpkg.gpkg is not a GeoPackage",
        "shx": "shx.shx missing; a Shapefile is a set of files",
        "size": "the mask has 40 x 96 pixels and no georeference, but the scene has 96 x 96",
        "values": f"{(truth(DRAWN) > 0).sum()} pixels from row 0 on have values without a class: 60, 120; say",
        "category": "category_id 1, which is not in its categories: 3 (building), 4 (road)",
        "runs": "RLE counts sum up to 1 pixels",
        "jpeg": "JPEG changes pixel values",
    }
    for name, said in words.items():
        assert said in result.quarantined[name][0]
    kept = {path.name for path in (workspace.quarantine("roofs") / "shx").rglob("*.*")}
    assert kept >= {"shx.tif", "shx.shp", "shx.dbf", "shx.prj", "reasons.json"}
    kept = {
        str(p.relative_to(workspace.quarantine("roofs") / "size"))
        for p in (workspace.quarantine("roofs") / "size").rglob("*.tif")
    }
    assert kept == {"size.tif", "masks/size.tif"}


def test_mask_values_and_lines_of_the_project_file(workspace, ingest, project, tmp_path):
    from shapely.geometry import LineString

    line = [(LineString([(5, 48), (90, 48)]), "road")]
    write_scene(tmp_path / "d" / "labelme.tif", seed=0)
    write_scene(tmp_path / "d" / "geojson.tif", seed=1)
    raster(tmp_path / "d" / "labelme_mask.png", np.array([9, 200, 100], np.uint8)[truth(DRAWN)])
    geojson(tmp_path / "d" / "geojson.geojson", line, "EPSG:32636", grid(1))
    how = AnnotationConfig(mask_values={"building": 200, "road": 100, "background": 9}, line_buffer=1.0)
    ingest(tmp_path / "d", what=project.model_copy(update={"annotations": how}))
    assert np.array_equal(masks(workspace)["labelme"], truth(DRAWN))
    assert np.array_equal(masks(workspace)["geojson"], truth([(line[0][0].buffer(2), "road")]))
    wrong = project.model_copy(update={"annotations": AnnotationConfig(mask_values={"rod": 1})})
    with pytest.raises(ConfigurationError, match="'rod' is no class"):
        ingest(tmp_path / "d", what=wrong)


def test_classes_are_called_otherwise_in_label_files(workspace, ingest, project, tmp_path):
    renamed = [(DRAWN[0][0], "Flat Roof"), (DRAWN[1][0], "Tar Road")]
    write_scene(tmp_path / "d" / "labelme.tif", seed=0)
    write_scene(tmp_path / "d" / "geojson.tif", seed=1)
    labelme(tmp_path / "d" / "labelme.json", renamed)
    geojson(tmp_path / "d" / "geojson.geojson", renamed, "EPSG:32636", grid(1))
    names = AnnotationConfig(class_names={"Flat Roof": "building", "Tar Road": "road"}, strict=True)
    assert not ingest(tmp_path / "d", what=project.model_copy(update={"annotations": names})).quarantined
    assert all(np.array_equal(masks(workspace)[form], truth(DRAWN)) for form in ("labelme", "geojson"))


def test_the_command_says_what_became_of_the_labels(workspace, tmp_path):
    """In a process of its own, with a project file, as the how-to shows it."""
    write_scene(tmp_path / "d" / "labelme.tif", seed=0)
    labelme(tmp_path / "d" / "labelme.json", [*DRAWN, (box(0, 0, 5, 5), "rode")])
    (tmp_path / "towns.yaml").write_text("name: roofs\nclasses: [building, road]\n")
    command = [sys.executable, "-m", "satseg", "ingest", "d", "--project", "towns.yaml", "--json"]
    outcome = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"SATSEG_WORKSPACE": str(workspace.root)},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["scenes"] == ["labelme"]
    warning = "labelme: 1 polygon of unknown class 'rode' dropped (nearest known class: 'road')"
    assert warning in result["warnings"]
    assert warning in outcome.stderr
