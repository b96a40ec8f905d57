"""The whole stage in this process: Great Expectations and DVC are loaded once."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio
from dataset_drops import BOW_TIE, HOUSE, write_labels, write_scene

from satseg.annotations.table import read_table
from satseg.config.settings import settings
from satseg.datasets import listing
from satseg.datasets.catalog import list_versions, open_version, scenes_added
from satseg.datasets.checkouts import checkout
from satseg.datasets.checksums import sha256_of
from satseg.datasets.difference import difference
from satseg.datasets.repository import GitRepository
from satseg.errors import BadDataError, ConfigurationError, NotFoundError, TemporaryError
from satseg.stages import ListScenesSpec

pytestmark = pytest.mark.slow


def reasons(workspace, scene: str) -> str:
    entry = json.loads((workspace.quarantine("roofs") / scene / "reasons.json").read_text())
    return "; ".join(entry["reasons"])


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size, p.stat().st_nlink) for p in sorted(folder.rglob("*"))}


@pytest.fixture
def mixed_drop(good_drop: Path) -> Path:
    truncated = write_scene(good_drop / "truncated.tif", seed=2)
    truncated.write_bytes(truncated.read_bytes()[:-9_000])
    (good_drop / "text.tif").write_text("I am a text file.")
    (good_drop / "README.md").write_text("unrelated")
    for number, (name, polygons, label) in enumerate(
        [("bowtie", [BOW_TIE], "building"), ("unknown", [HOUSE, HOUSE], "bulding")], start=3
    ):
        write_scene(good_drop / f"{name}.tif", seed=number)
        write_labels(good_drop / f"{name}.json", *polygons, label=label)
    return good_drop


def test_a_mixed_folder_versions_the_good_and_quarantines_the_bad(workspace, ingest, mixed_drop):
    before = state(mixed_drop)
    result = ingest(mixed_drop)
    assert result.dataset_version == "v1"
    assert result.changed
    assert result.scenes == ["bowtie", "good", "unknown"]
    assert set(result.quarantined) == {"text", "truncated"}
    assert "not a GeoTIFF, PNG or JPEG" in reasons(workspace, "text")
    assert "damaged or truncated" in reasons(workspace, "truncated")
    assert (workspace.quarantine("roofs") / "truncated" / "truncated.tif").is_file()
    said = " | ".join(result.warnings)
    assert "bowtie: 1 polygon self-intersecting or otherwise invalid, repaired" in said
    assert "unknown: 2 polygons of unknown class 'bulding' dropped (nearest known class: 'building')" in said
    assert state(mixed_drop) == before

    version = open_version(workspace, "roofs")
    good, unknown = version.scenes[1], version.scenes[2]
    assert (good.labelled, unknown.labelled) == (True, False)
    assert read_table(good.annotations).polygons[0].geometry.area == pytest.approx(30 * 30 * 0.25)
    assert sha256_of(good.path) == good.checksum
    with rasterio.open(good.path) as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    results = json.loads((workspace.validation("roofs") / "results.json").read_text())
    assert results["scenes"]["success"] is False  # a warning: a scene without labels
    assert (workspace.validation("roofs") / "data_docs" / "index.html").is_file()


def test_the_stac_items_and_the_collection_are_read_by_pystac(workspace, ingest, good_drop):
    import pystac

    ingest(good_drop)
    collection = pystac.Collection.from_file(str(workspace.dataset("roofs") / "collection.json"))
    (item,) = collection.get_items()
    assert item.id == "good"
    assert item.ext.proj.code == "EPSG:32636"
    assert item.ext.proj.shape == [96, 96]
    assert item.assets["scene"].ext.raster.bands[0].statistics.maximum > 200
    assert item.assets["scene"].ext.eo.bands[0].common_name == "red"
    assert item.assets["scene"].ext.file.checksum.startswith("1220")
    assert item.properties["label:classes"][0]["classes"] == ["building"]
    assert Path(item.assets["annotations"].get_absolute_href()).is_file()
    assert item.bbox == pytest.approx([33.0, 0.361, 33.0, 0.362], abs=2e-3)


def test_ingesting_twice_makes_one_version(workspace, ingest, good_drop):
    first = ingest(good_drop)
    head = GitRepository(workspace.data).head()
    second = ingest(good_drop)
    third = ingest(good_drop, force=True)  # converted again: equal bytes
    assert (first.changed, second.changed, third.changed) == (True, False, False)
    assert second.dataset_version == third.dataset_version == "v1"
    assert list_versions(workspace, "roofs") == ["v1"]
    assert GitRepository(workspace.data).head() == head
    assert second.scenes == ["good"]


def test_only_bad_files_end_in_an_error_each_time_and_leave_no_version(workspace, ingest, tmp_path):
    drop = tmp_path / "bad"
    drop.mkdir()
    (drop / "empty.tif").touch()
    (drop / "text.tif").write_text("text")
    write_scene(drop / "five.tif", bands=5)
    write_scene(drop / "wide.tif", dtype="float64")
    write_scene(drop / "small.tif", width=10, height=10)
    write_scene(drop / "drawn.tif", seed=5)
    (drop / "drawn.json").write_text("{ broken")
    for _ in range(2):
        with pytest.raises(BadDataError, match="No scene can be used"):
            ingest(drop)
        assert list_versions(workspace, "roofs") == []
        assert not workspace.data.exists()
        assert not workspace.staging("roofs").exists()
        assert "has 5 bands, expected 3" in reasons(workspace, "five")
        assert "type float64" in reasons(workspace, "wide")
        assert "10 px wide" in reasons(workspace, "small")
        assert "0 bytes" in reasons(workspace, "empty")
        assert "not valid JSON" in reasons(workspace, "drawn")
        assert (workspace.quarantine("roofs") / "drawn" / "drawn.tif").is_file()


def test_bad_files_beside_a_version_make_no_version(workspace, ingest, good_drop, tmp_path):
    ingest(good_drop)
    before = state(workspace.data)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "text.tif").write_text("text")
    with pytest.raises(BadDataError, match=r"text\.tif"):
        ingest(tmp_path / "bad")
    assert state(workspace.data) == before


def test_an_old_version_stays_readable_after_a_change(workspace, ingest, project, good_drop):
    ingest(good_drop)
    old = open_version(workspace, "roofs", "v1").scenes[0]
    pixels = old.path.read_bytes()
    write_scene(good_drop / "good.tif", seed=1, transform=rasterio.Affine(0.5, 0, 600_000, 0, -0.5, 40_000))
    write_labels(good_drop / "good.json", HOUSE, BOW_TIE)
    write_scene(good_drop / "new.tif", seed=9)
    assert ingest(good_drop).new_scenes == ["good", "new"]

    again = open_version(workspace, "roofs", "v1").scenes[0]
    assert again.path.read_bytes() == pixels
    assert sha256_of(again.path) == old.checksum
    assert len(read_table(again.annotations)) == 1
    newest = open_version(workspace, "roofs")
    assert newest.name == "v2"
    assert [len(read_table(s.annotations)) if s.annotations else None for s in newest.scenes] == [2, None]
    assert newest.scenes[0].checksum != old.checksum
    assert scenes_added(workspace, "roofs", "v1") == ["good"]
    assert scenes_added(workspace, "roofs", "v2") == ["good", "new"]
    with pytest.raises(NotFoundError, match=r"'v7'\. There are: v1, v2"):
        open_version(workspace, "roofs", "v7")

    found = difference(workspace, "roofs", "v1", None).scenes
    assert (found.added, found.removed) == (["new"], [])
    assert found.pixels_changed == found.labels_changed == ["good"]
    _, folder = checkout(workspace, "roofs", "v1", None)
    assert sha256_of(folder / "scenes" / "good.tif") == old.checksum
    assert json.loads((folder / "collection.json").read_text())["id"] == "roofs"

    # a file somebody damages in place is noticed and restored by the next version
    workspace.dataset("roofs").joinpath("scenes", "new.tif").write_bytes(b"damaged")
    assert sha256_of(open_version(workspace, "roofs").scenes[1].path) == newest.scenes[1].checksum
    write_scene(good_drop / "third.tif", seed=11)
    ingest(good_drop / "third.tif")
    assert sha256_of(workspace.dataset("roofs") / "scenes" / "new.tif") == newest.scenes[1].checksum


def test_labels_may_come_later_and_alone(workspace, ingest, tmp_path):
    write_scene(tmp_path / "a" / "house.tif", seed=1)
    first = ingest(tmp_path / "a")
    assert "house: has no labels" in " ".join(first.warnings)
    before = open_version(workspace, "roofs").scenes[0]
    write_labels(tmp_path / "b" / "house.json", HOUSE)
    write_labels(tmp_path / "b" / "stranger.json", HOUSE)
    second = ingest(tmp_path / "b")
    assert (second.dataset_version, second.new_scenes) == ("v2", ["house"])
    assert "no scene 'stranger' for these labels" in second.quarantined["stranger"][0]
    after = open_version(workspace, "roofs").scenes[0]
    assert after.labelled
    assert not before.labelled
    assert (after.checksum, after.ingested_at) == (before.checksum, before.ingested_at)
    assert not ingest(tmp_path / "b").changed
    assert not ingest(tmp_path / "a").changed  # the raster again, without its labels, takes none away
    write_labels(tmp_path / "b" / "house.json")  # checked, nothing there
    assert ingest(tmp_path / "b").dataset_version == "v3"
    record = open_version(workspace, "roofs").scenes[0]
    assert record.labelled
    assert len(read_table(record.annotations)) == 0


def test_incoming_is_emptied_after_the_version_and_bad_files_go_to_quarantine(workspace, ingest):
    with pytest.raises(BadDataError, match="holds no scenes"):
        ingest()
    incoming = workspace.incoming("roofs")
    write_scene(incoming / "north" / "house.tif", seed=1)
    write_labels(incoming / "north" / "house.json", HOUSE)
    (incoming / "text.tif").write_text("text")
    result = ingest()
    assert (result.scenes, list(result.quarantined)) == (["house"], ["text"])
    assert list(incoming.iterdir()) == []
    originals = workspace.originals("roofs", "v1")
    assert sorted(p.name for p in originals.rglob("*.*")) == ["house.json", "house.tif"]
    assert (workspace.quarantine("roofs") / "text" / "text.tif").read_text() == "text"
    again = ingest()
    assert (again.changed, again.dataset_version, again.scenes) == (False, "v1", [])
    (incoming / "text.tif").write_text("text")
    with pytest.raises(BadDataError):
        ingest()
    assert (incoming / "text.tif").is_file()


def test_folder_labels_serve_scenes_without_their_own(workspace, ingest, project, tmp_path):
    for seed, name in enumerate(("own", "shared", "far")):
        write_scene(tmp_path / "d" / f"{name}.tif", seed=10 * seed)
    write_labels(tmp_path / "d" / "own.json", HOUSE)
    write_scene(tmp_path / "d" / "photo.png", driver="PNG", crs=None, transform=None)

    def square(x: float) -> dict:
        ring = [[x, 39_990], [x + 5, 39_990], [x + 5, 39_995], [x, 39_995], [x, 39_990]]
        return {
            "type": "Feature",
            "properties": {"class": "building"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }

    crs = {"type": "name", "properties": {"name": "EPSG:32636"}}
    features = [square(500_005), square(500_015), square(501_005), square(900_000)]
    (tmp_path / "d" / "labels.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    )
    result = ingest(tmp_path / "d")
    counts = {
        s.id: len(read_table(s.annotations)) if s.labelled else None for s in open_version(workspace, "roofs").scenes
    }
    assert counts == {"own": 1, "shared": 1, "far": None, "photo": None}
    assert any(
        "labels.geojson does not serve it: its coordinates are in EPSG:32636" in text for text in result.warnings
    )
    assert any("labels.geojson: 3 of 4 polygons lie in no scene that it serves" in text for text in result.warnings)


def test_strict_annotations_quarantine_unknown_classes(workspace, ingest, project, good_drop):
    strict = project.model_copy(update={"annotations": project.annotations.model_copy(update={"strict": True})})
    write_scene(good_drop / "odd.tif", seed=4)
    write_labels(good_drop / "odd.json", HOUSE, label="tree")
    result = ingest(good_drop, what=strict)
    assert result.scenes == ["good"]
    assert "unknown class 'tree'" in result.quarantined["odd"][0]
    assert "annotations.strict" in result.quarantined["odd"][0]


def test_scenes_are_listed_by_version_time_and_prediction(workspace, ingest, project, good_drop):
    ask = lambda **options: listing.run(ListScenesSpec(project=project, **options), workspace)  # noqa: E731
    assert (ask().dataset_version, ask().scenes) == (None, [])
    ingest(good_drop)
    write_scene(good_drop / "late.tif", seed=7)
    ingest(good_drop)
    assert ask().scenes == ["good", "late"]
    assert ask(dataset_version="v2").scenes == ["late"]
    time = open_version(workspace, "roofs").scenes[1].ingested_at
    assert "late" in ask(since=time).scenes
    assert "late" not in ask(until=time).scenes
    assert ask(since=datetime(2999, 1, 1)).scenes == []  # no zone means UTC
    folder = workspace.prediction("roofs", "good", "v1")
    folder.mkdir(parents=True)
    checksum = open_version(workspace, "roofs").scenes[0].checksum
    (folder / "item.json").write_text(json.dumps({"properties": {"satseg:scene_checksum": checksum}}))
    assert ask(not_predicted_by="v1").scenes == ["late"]
    (folder / "item.json").write_text(json.dumps({"properties": {"satseg:scene_checksum": "of other pixels"}}))
    assert ask(not_predicted_by="v1").scenes == ["good", "late"]
    assert listing.versions_table(workspace, "roofs")[1]["scenes"] == 2
    assert time <= datetime.now(UTC)


@pytest.fixture
def set_remote(monkeypatch):
    def call(remote: str) -> None:
        monkeypatch.setenv("SATSEG_DVC_REMOTE", remote)
        settings.cache_clear()

    yield call
    settings.cache_clear()


def test_versions_are_pushed_and_fetched_back_from_the_remote(workspace, ingest, good_drop, tmp_path, set_remote):
    set_remote("/proc/no/such/place")
    with pytest.raises(TemporaryError, match="SATSEG_DVC_REMOTE"):
        ingest(good_drop)
    set_remote(str(tmp_path / "remote"))
    result = ingest(good_drop)
    assert (result.changed, result.dataset_version) == (True, "v1")  # made by the run that could not push
    checksum = open_version(workspace, "roofs").scenes[0].checksum
    shutil.rmtree(workspace.data / ".dvc" / "cache")
    (workspace.dataset("roofs") / "scenes" / "good.tif").unlink()
    assert sha256_of(open_version(workspace, "roofs").scenes[0].path) == checksum


def test_a_missing_folder_and_a_wrong_crs_are_wrong_usage(workspace, ingest, project, tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        ingest(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="'EPSG:0' is unknown"):
        ingest(tmp_path, what=project.model_copy(update={"crs": "EPSG:0"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadDataError, match="holds no scenes"):
        ingest(tmp_path / "empty")
