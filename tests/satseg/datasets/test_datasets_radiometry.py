"""Scenes on their way through the stage: radiometry, several files, and what the STAC Item says of it."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from dataset_drops import HOUSE, write_labels, write_scene
from test_datasets_composed import BANDS, eo_asset, item, write_bands

from satseg.config.data import RadiometryConfig
from satseg.config.project import ProjectConfig
from satseg.datasets import validation
from satseg.datasets.catalog import open_version
from satseg.datasets.discovery import SceneSource, discover
from satseg.datasets.staging import conversion_id, source_checksum, stage_scene
from satseg.errors import BadDataError


@pytest.fixture(autouse=True)
def _without_great_expectations(monkeypatch):
    # seconds of import that nothing here depends on
    monkeypatch.setattr(validation.Loading, "start", lambda self: None)
    monkeypatch.setattr(validation, "validate", lambda *args, **more: validation.Findings())


def sentinel(folder):
    """Write a scene of four files, the near infrared at half the resolution."""
    write_bands(folder)
    coarse = {"width": 48, "height": 48, "transform": Affine(1.0, 0, 500_100, 0, -1.0, 40_000)}
    write_scene(folder / "B08.tif", 1, 1, dtype="uint16", nodata=0, **coarse)
    (folder / "item.json").write_text(json.dumps(item({key: eo_asset(key, name) for key, name in BANDS.items()})))


def project_of(**more) -> ProjectConfig:
    return ProjectConfig(name="roofs", classes=("building",), **more)


def test_a_sentinel_like_scene_is_ingested_as_reflectance(tmp_path, workspace, ingest):
    sentinel(tmp_path / "drop" / "s2")
    write_labels(tmp_path / "drop" / "S2A_36NVF_20260504.json", HOUSE)
    project = project_of(bands=("red", "nir"), radiometry={"calibrate": "metadata"})
    result = ingest(tmp_path / "drop", project)
    assert (result.scenes, result.quarantined) == (["S2A_36NVF_20260504"], {})
    (scene,) = open_version(workspace, "roofs").scenes
    properties = scene.item["properties"]
    assert properties["datetime"].startswith("2026-05-04T08:15:30.123")
    assert properties["satseg:datetime_is"] == "acquisition"
    assert [step["step"] for step in properties["satseg:processing"]] == ["resample", "calibrate", "dtype"]
    assert properties["satseg:source"]["name"] == "item.json"
    assert properties["satseg:source"]["files"] == ["B04.tif", "B08.tif"]
    resample, calibrate, _ = properties["satseg:processing"]
    assert (resample["method"], resample["to"]["shape"]) == ("bilinear", [96, 96])
    assert (calibrate["from"], calibrate["scale"], calibrate["offset"]) == ("metadata", [1e-4] * 2, [-0.1] * 2)
    assert (scene.dtype, scene.labelled) == ("float32", True)
    with rasterio.open(scene.path) as cog, rasterio.open(tmp_path / "drop" / "s2" / "B04.tif") as source:
        assert cog.descriptions == ("red", "nir")
        expected = source.read(1) * 1e-4 - 0.1
        expected[source.read(1) == 0] = np.nan
        assert cog.read(1) == pytest.approx(expected, rel=1e-5, abs=1e-7, nan_ok=True)
    again = ingest(tmp_path / "drop", project)
    assert (again.changed, again.dataset_version) == (False, "v1")


def test_a_changed_setting_makes_new_pixels_of_the_same_scene(tmp_path, workspace, ingest):
    write_scene(tmp_path / "drop" / "a.tif", 1, dtype="uint16")
    plain = ingest(tmp_path / "drop", project_of())
    stretched = ingest(tmp_path / "drop", project_of(radiometry={"stretch": {}}))
    assert (plain.dataset_version, stretched.dataset_version, stretched.new_scenes) == ("v1", "v2", ["a"])
    (before,), (after,) = (open_version(workspace, "roofs", version).scenes for version in ("v1", "v2"))
    assert (before.dtype, after.dtype) == ("uint16", "uint8")
    assert before.ingested_at == after.ingested_at  # another conversion is no new scene
    assert before.item["properties"]["satseg:processing"] == []
    stretch, dtype = after.item["properties"]["satseg:processing"]
    assert (stretch["percents"], len(stretch["low"]), dtype["dtype"]) == ([2.0, 98.0], 3, "uint8")
    (asset,) = (after.item["assets"]["scene"],)
    assert {band["data_type"] for band in asset["raster:bands"]} == {"uint8"}


def test_a_scene_that_lacks_what_is_declared_is_quarantined(tmp_path, workspace, ingest):
    write_scene(tmp_path / "drop" / "a.tif", 1, dtype="uint16")
    with pytest.raises(BadDataError, match=r"no scale and offset for band 1, 2, 3"):
        ingest(tmp_path / "drop", project_of(radiometry={"calibrate": "metadata"}))
    reasons = json.loads((workspace.quarantine("roofs") / "a" / "reasons.json").read_text())
    assert "calibrate: project" in reasons["reasons"][0]


def test_the_conversion_depends_on_every_setting_and_on_what_lies_beside(tmp_path):
    path = write_scene(tmp_path / "a.tif", 1, dtype="uint16")
    source = SceneSource("a", path)
    settings = [
        {},
        {"crs": "EPSG:3857"},
        {"gsd_m": 1.0},
        {"resampling": "cubic"},
        {"bands": ("x", "y", "z")},
        {"band_names": {"red": "B04"}},
        {"radiometry": {"dark_object": {}}},
        {"radiometry": {"dark_object": {"percent": 0.1}}},
        {"radiometry": {"stretch": {}}},
        {"radiometry": {"dtype": "float32"}},
        {"radiometry": {"calibrate": "project", "scale": [0.1]}},
        {"radiometry": {"calibrate": "project", "scale": [0.1], "offset": [1.0]}},
    ]
    ids = {conversion_id(source, project_of(**more)) for more in settings}
    assert len(ids) == len(settings)
    (tmp_path / "a.prj").write_text("x")
    assert conversion_id(SceneSource("a", path, sidecars=(tmp_path / "a.prj",)), project_of()) not in ids


def test_a_scene_taken_as_it_is_keeps_the_id_it_had_before_there_was_radiometry(tmp_path):
    from satseg.config.project import content_id

    path = write_scene(tmp_path / "a.tif")
    expected = content_id(1, ("red", "green", "blue"), None, None, [])
    assert conversion_id(SceneSource("a", path), project_of()) == expected


def test_a_changed_description_is_another_conversion_of_the_same_pixels(tmp_path):
    sentinel(tmp_path)
    project = project_of(bands=("red", "nir"), radiometry={"calibrate": "metadata"})
    (before,) = discover(tmp_path).scenes
    marks = source_checksum(before, project), conversion_id(before, project)
    (tmp_path / "item.json").write_text((tmp_path / "item.json").read_text().replace("-0.1", "-0.2"))
    (after,) = discover(tmp_path).scenes
    assert source_checksum(after, project) == marks[0]
    assert conversion_id(after, project) != marks[1]


def test_a_staged_scene_is_found_again_whole(tmp_path):
    path = write_scene(tmp_path / "a.tif", 1, dtype="uint16", nodata=0)
    project = project_of(gsd_m=0.7, radiometry={"dark_object": {}, "dtype": "float32"})
    source = SceneSource("a", path)
    arguments = (source, source_checksum(source, project), conversion_id(source, project), project, tmp_path / "s")
    first = stage_scene(*arguments)
    stamp = first.cog.stat().st_mtime_ns
    second = stage_scene(*arguments)
    assert second.cog.stat().st_mtime_ns == stamp
    assert repr(first) == repr(second)
    assert [step["step"] for step in first.processing] == ["resample", "dark_object", "dtype"]


@pytest.mark.parametrize(
    ("radiometry", "words"),
    [
        ({"calibrate": "project"}, "needs scale"),
        ({"scale": [1.0]}, "needs calibrate: project"),
        ({"offset": [1.0]}, "offset needs calibrate: project"),
        ({"calibrate": "project", "scale": [0.0]}, "greater than 0"),
        ({"calibrate": "metadata", "dtype": "uint8"}, "add a stretch"),
        ({"stretch": {"low_percent": 50, "high_percent": 20}}, "is not below"),
        ({"calibrate": "project", "scale": [1.0, 2.0]}, r"radiometry\.scale holds 2 numbers for 3 bands"),
    ],
)
def test_settings_that_make_no_sense_are_refused(radiometry, words):
    with pytest.raises(ValueError, match=words):
        project_of(radiometry=radiometry)


def test_the_defaults_do_nothing():
    assert project_of().radiometry == RadiometryConfig()
    assert project_of(radiometry={}).radiometry.calibrate == "none"
