"""Scenes come out of quarantine when the project file or their files have been mended, and only then."""

import json

import pytest
from dataset_drops import HOUSE, write_labels, write_scene

from satseg.datasets import quarantine as quarantine_module
from satseg.datasets.catalog import list_versions, open_version
from satseg.errors import BadDataError, ConfigurationError
from satseg.stages import IngestSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def retry(workspace, project):
    from satseg.datasets.ingest import run

    return lambda what=project: run(IngestSpec(project=what, retry_quarantine=True), workspace)


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def test_a_mended_project_file_lets_scenes_out_and_the_others_stay(workspace, ingest, project, good_drop, retry):
    write_scene(good_drop / "five.tif", seed=4, bands=5)
    write_labels(good_drop / "five.json", HOUSE)
    (good_drop / "text.tif").write_text("text")
    with pytest.raises(BadDataError):
        ingest(good_drop / "five.tif")
    result = ingest(good_drop)
    assert set(result.quarantined) == {"five", "text"}

    five_bands = project.model_copy(update={"bands": ("red", "green", "blue", "nir", "swir")})
    again = retry(five_bands)
    assert (again.dataset_version, again.scenes, set(again.quarantined)) == ("v2", ["five"], {"text"})
    assert open_version(workspace, "roofs").scenes[0].labelled
    folder = workspace.quarantine("roofs")
    assert [path.name for path in folder.iterdir()] == ["text"]
    entry = json.loads((folder / "text" / "reasons.json").read_text())
    assert "not a GeoTIFF" in entry["reasons"][0]
    assert entry["checked_again"] >= entry["time"]
    out = workspace.originals("roofs", "v2") / "from-quarantine" / "five"
    assert names(out) == ["five.json", "five.tif", "reasons.json"]
    assert json.loads((out / "reasons.json").read_text())["resolved_by"] == "v2"
    assert (good_drop / "five.tif").is_file()


def test_a_mended_file_in_quarantine_comes_out(workspace, ingest, good_drop, retry):
    write_scene(good_drop / "drawn.tif", seed=5)
    (good_drop / "drawn.json").write_text("{ broken")
    ingest(good_drop)
    with pytest.raises(BadDataError, match="not valid JSON"):
        retry()
    write_labels(workspace.quarantine("roofs") / "drawn" / "drawn.json", HOUSE)
    assert retry().new_scenes == ["drawn"]
    assert not (workspace.quarantine("roofs") / "drawn").exists()
    empty = retry()
    assert (empty.dataset_version, empty.changed, empty.scenes) == ("v2", False, [])
    assert list_versions(workspace, "roofs") == ["v1", "v2"]


def test_shared_labels_and_folders_are_kept_with_the_scene(workspace, ingest, tmp_path, retry):
    drop = tmp_path / "drop"
    write_scene(drop / "good.tif", seed=1)
    write_scene(drop / "north" / "small.tif", seed=2, width=10)
    (drop / "labels.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    ingest(drop)
    assert names(workspace.quarantine("roofs") / "small") == ["labels.geojson", "north/small.tif", "reasons.json"]
    write_scene(workspace.quarantine("roofs") / "small" / "north" / "small.tif", seed=2)
    retry()
    assert open_version(workspace, "roofs").scenes[1].labelled  # an empty label file: checked, nothing there


def test_a_scene_never_takes_the_place_of_another_of_the_same_name(workspace, ingest, tmp_path, retry):
    write_scene(tmp_path / "drop" / "a.tif", seed=1)
    write_scene(tmp_path / "drop" / "north" / "a.tif", seed=2)
    ingest(tmp_path / "drop")
    before = open_version(workspace, "roofs").scenes[0].checksum
    with pytest.raises(BadDataError, match="scene id 'a' belongs to another scene; rename the file"):
        retry()
    folder = workspace.quarantine("roofs") / "north-a.tif"
    (folder / "a.tif").rename(folder / "a-north.tif")
    assert retry().new_scenes == ["a-north"]
    scenes = {scene.id: scene.checksum for scene in open_version(workspace, "roofs").scenes}
    assert set(scenes) == {"a", "a-north"}
    assert scenes["a"] == before


def test_a_linked_scene_that_fails_again_is_not_lost(workspace, ingest, good_drop, retry, monkeypatch):
    monkeypatch.setattr(quarantine_module, "COPY_UP_TO_BYTES", 1)
    write_scene(good_drop / "five.tif", seed=4, bands=5)
    ingest(good_drop)
    for _ in range(2):
        with pytest.raises(BadDataError, match="5 bands"):
            retry()
    assert (workspace.quarantine("roofs") / "five" / "five.tif").read_bytes() == (good_drop / "five.tif").read_bytes()


def test_an_entry_without_its_file_says_so_and_a_source_is_wrong_usage(workspace, ingest, good_drop, project, retry):
    (good_drop / "text.tif").write_text("text")
    ingest(good_drop)
    (workspace.quarantine("roofs") / "text" / "text.tif").unlink()
    with pytest.raises(BadDataError, match="no scene and no label file is left in text/"):
        retry()
    from satseg.datasets.ingest import run

    with pytest.raises(ConfigurationError, match="not both"):
        run(IngestSpec(project=project, source=good_drop, retry_quarantine=True), workspace)
