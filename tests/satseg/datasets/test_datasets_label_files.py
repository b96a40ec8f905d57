"""Which file labels which scene: masks, sets of files, folders."""

from pathlib import Path

import pytest
from dataset_drops import write_scene
from shapely.geometry import box

from label_makers import coco, raster, table_of, truth, vector
from satseg.datasets.demo_changes import Change
from satseg.datasets.demo_copies import write_copies
from satseg.datasets.discovery import Discovery, SceneSource, discover
from satseg.datasets.label_files import labelled_stem, renamed
from satseg.errors import BadDataError

DRAWN = [(box(10, 10, 40, 50), "building")]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"shapes": []}')
    return folder


def by_id(found: Discovery) -> dict[str, SceneSource]:
    return {scene.id: scene for scene in found.scenes}


@pytest.mark.parametrize(
    "labels",
    ["a.gpkg", "a.shp", "a_mask.tif", "a_mask.png", "a-MASK.tiff", "masks/a.png", "labels/a.tif", "Masks/a_mask.tif",
     "labels/a.geojson", "labels/a.shp"],
)  # fmt: skip
def test_the_name_or_the_folder_says_which_scene_a_file_labels(tmp_path, labels):
    for scene in ("a.tif", "images/a.tif"):
        folder = tmp_path / scene.replace("/", "-")
        (found,) = discover(touch(folder, scene, labels)).scenes
        assert (found.raster, found.labels, found.problem) == (folder / scene, folder / labels, None)


def test_a_mask_is_never_a_scene(tmp_path):
    found = by_id(discover(touch(tmp_path, "a_mask.tif", "masks/b.png", "c.tif"), known=["b"]))
    assert found["b"].raster is None
    assert "no scene 'a' for these labels" in found["a"].problem
    assert found["c"].labels is None


def test_the_folder_that_is_ingested_may_itself_be_called_labels(tmp_path):
    (scene,) = discover(touch(tmp_path / "labels", "a.tif")).scenes
    assert scene.raster is not None


def test_vector_files_count_before_masks_and_the_others_are_named(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "a.shp", "a.gpkg", "a_mask.tif", "labels/a.geojson"))
    assert found.scenes[0].labels == tmp_path / "a.gpkg"
    said = {text.split(" ignored: a.gpkg labels")[0] for text in found.warnings}
    assert said == {"a.shp", "a_mask.tif", "a.geojson"}


def test_what_belongs_to_a_label_file_goes_with_it(tmp_path):
    touch(tmp_path, "a.tif", "a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg", "b.tif", "b_mask.png", "b_mask.pgw", "x.dbf")
    found = discover(tmp_path)
    names = {scene.id: {path.name for path in scene.files} for scene in found.scenes}
    assert names == {
        "a": {"a.tif", "a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg"},
        "b": {"b.tif", "b_mask.png", "b_mask.pgw"},
    }
    assert {path.name for path in found.ignored} == {"x.dbf"}


@pytest.mark.parametrize("name", ["labels.gpkg", "annotations.shp", "Annotations.json"])
def test_folder_files_of_every_format(tmp_path, name):
    found = discover(touch(tmp_path, "a.tif", name, "annotations.dbf"))
    assert found.scenes[0].shared_labels == tmp_path / name
    assert found.scenes[0].labels is None
    if name.endswith(".shp"):
        assert (
            set(found.shared_labels)
            == set(found.scenes[0].shared_files)
            == {tmp_path / name, tmp_path / "annotations.dbf"}
        )


def test_of_two_folder_files_one_serves_and_the_other_is_named(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "labels.gpkg", "annotations.json"))
    assert found.scenes[0].shared_labels == tmp_path / "annotations.json"
    assert found.warnings == ("labels.gpkg ignored: annotations.json labels the scenes of this folder",)


def test_a_single_scene_takes_its_mask_and_its_set_of_files(tmp_path):
    touch(
        tmp_path, "a.tif", "a_mask.tif", "b.tif", "b_mask.tif", "masks/a.png", "c.tif", "labels/c.shp", "labels/c.shx"
    )
    assert discover(tmp_path / "b.tif").scenes[0].labels == tmp_path / "b_mask.tif"
    (scene,) = discover(tmp_path / "c.tif").scenes
    assert {path.name for path in scene.files} == {"c.tif", "c.shp", "c.shx"}
    with pytest.raises(BadDataError, match="is a label mask by its name"):
        discover(tmp_path / "a_mask.tif")


def test_label_files_are_renamed_with_all_that_belongs_to_them(tmp_path):
    touch(tmp_path, "a.shp", "a.shx", "a.shp.xml", "masks/a.png", "masks/a.pgw")
    assert sorted(renamed(tmp_path / "a.shp", "b").values()) == ["b.shp", "b.shp.xml", "b.shx"]
    assert sorted(renamed(tmp_path / "masks/a.png", "b").values()) == ["b_mask.pgw", "b_mask.png"]
    assert labelled_stem(Path("a_mask.b.png")) == "a_mask.b"


def test_changed_copies_of_scenes_keep_labels_of_every_format(tmp_path):
    source = tmp_path / "in"
    for seed, name in enumerate(("shp", "mask", "coco")):
        write_scene(source / f"{name}.tif", seed=seed)
    vector(source / "shp.shp", DRAWN)
    (source / "masks").mkdir()
    raster(source / "masks" / "mask.png", truth(DRAWN))
    coco(source / "annotations.json", DRAWN, image="coco.tif")
    write_copies(tmp_path / "out", source, Change(gain=0.5))
    found = by_id(discover(tmp_path / "out"))
    assert set(found) == {"shp_changed", "mask_changed", "coco_changed"}
    assert len(table_of(found["shp_changed"].labels)) == 1
    mask = table_of(found["mask_changed"].labels)
    assert mask.polygons[0].geometry.area == pytest.approx(30 * 40 * 0.25)
    assert '"coco_changed.tif"' in found["coco_changed"].shared_labels.read_text()
