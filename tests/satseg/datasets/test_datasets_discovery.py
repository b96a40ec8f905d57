from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.datasets.discovery import discover, scene_id
from satseg.errors import BadDataError, ConfigurationError
from satseg.storage.layout import Workspace


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"shapes": []}')
    return folder


def by_id(found):
    return {scene.id: scene for scene in found.scenes}


@given(st.text(min_size=1, max_size=200))
def test_every_stem_gives_an_id_that_is_a_safe_file_name(stem):
    folder = Workspace(Path("/w")).prediction("p", scene_id(stem), "v1")
    assert folder.parent.parent == Path("/w/predictions/p")


def test_names_keep_what_they_can():
    assert scene_id("Ggaba_a-2024.05") == "Ggaba_a-2024.05"
    assert scene_id("Rue de l'Église (2)") == "Rue-de-l-Eglise-2"
    assert scene_id("../..") != scene_id("...")  # nothing left: a hash


def test_stem_labels_win_over_folder_labels(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "a.json", "b.png", "labels.geojson"))
    scenes = by_id(found)
    assert scenes["a"].labels == tmp_path / "a.json"
    assert scenes["b"].labels is None
    assert scenes["b"].shared_labels == tmp_path / "labels.geojson"
    assert found.shared_labels == (tmp_path / "labels.geojson",)


def test_the_nearest_folder_label_file_serves_a_scene(tmp_path):
    found = discover(touch(tmp_path, "labels.geojson", "north/a.tif", "north/annotations.json", "south/b.tif"))
    assert by_id(found)["a"].shared_labels == tmp_path / "north/annotations.json"
    assert by_id(found)["b"].shared_labels == tmp_path / "labels.geojson"


def test_labels_may_lie_in_another_folder_of_the_drop(tmp_path):
    found = discover(touch(tmp_path, "images/a.tif", "labels/a.json"))
    assert by_id(found)["a"].labels == tmp_path / "labels/a.json"


def test_sidecars_and_unrelated_files_are_no_scenes(tmp_path):
    names = ("a.tif", "a.tfw", "a.prj", "a.tif.aux.xml", "a.tif.ovr", "README.md", "x.txt", ".hidden.tif", "b.tif.part")
    found = discover(touch(tmp_path, *names))
    assert [scene.id for scene in found.scenes] == ["a"]
    assert {path.name for path in found.scenes[0].sidecars} == {"a.tfw", "a.prj", "a.tif.aux.xml"}
    assert {path.name for path in found.ignored} == {"README.md", "x.txt", "a.tif.ovr"}


def test_a_quick_look_beside_a_scene_is_passed_over_with_a_warning(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "a.png", "a.jpg"))
    assert [scene.raster.name for scene in found.scenes] == ["a.tif"]
    assert len(found.warnings) == 2
    assert "a.png ignored: a.tif is the scene 'a'" in found.warnings


def test_two_rasters_with_one_id_are_a_problem_of_the_second(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "north/a.tif"))
    first, second = by_id(found)["a"], by_id(found)["north-a.tif"]
    assert first.problem is None
    assert "scene id 'a' belongs to a.tif" in second.problem
    assert (first.name_in(tmp_path), second.name_in(tmp_path)) == ("a.tif", "north/a.tif")
    assert second.name_in(tmp_path / "north" / "a.tif") == second.name_in(tmp_path / "else") == "a.tif"


def test_two_label_files_are_never_joined(tmp_path):
    found = discover(touch(tmp_path, "a.tif", "a.json", "a.geojson"))
    assert found.scenes[0].labels == tmp_path / "a.geojson"
    assert "a.json ignored: a.geojson labels the scene 'a'" in found.warnings


def test_labels_alone_belong_to_scenes_of_the_dataset(tmp_path):
    found = discover(touch(tmp_path, "a.json", "b.json", "settings.txt"), known={"a": 1, "c": 1})
    assert by_id(found)["a"].raster is None
    assert by_id(found)["a"].problem is None
    assert "no scene 'b' for these labels" in by_id(found)["b"].problem


def test_folder_labels_alone_serve_scenes_that_wait_for_labels(tmp_path):
    found = discover(touch(tmp_path, "labels.geojson"), known=["a", "b"], awaiting=["b"])
    assert [(scene.id, scene.shared_labels) for scene in found.scenes] == [("b", tmp_path / "labels.geojson")]


def test_a_single_file_takes_its_neighbours_of_the_same_name(tmp_path):
    touch(tmp_path, "a.tif", "a.json", "a.tfw", "b.tif", "b.json")
    found = discover(tmp_path / "a.tif")
    assert [scene.id for scene in found.scenes] == ["a"]
    assert {path.name for path in found.scenes[0].files} == {"a.tif", "a.json", "a.tfw"}
    with pytest.raises(BadDataError, match="no scene by its suffix"):
        discover(tmp_path / "a.json")


def test_a_missing_folder_is_wrong_usage(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        discover(tmp_path / "nowhere")
