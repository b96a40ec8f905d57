"""The suite from the project file, its severities, and Data Docs that need no network."""

import re
from datetime import UTC, datetime

import pytest
import rasterio
from dataset_drops import BOW_TIE, HOUSE, write_labels, write_scene
from rasterio import Affine

from satseg.config.data import ValidationConfig
from satseg.config.project import ProjectConfig, parse_project
from satseg.datasets.duplicates import Duplicate, find_duplicates
from satseg.datasets.placement import is_placed
from satseg.datasets.rules import annotation_rules, broken, scene_rules
from satseg.errors import ConfigurationError
from satseg.scenes.grid import Grid

GROUND = [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]


def rules_of(**limits) -> list:
    return scene_rules(ProjectConfig(name="roofs", classes=("building",), validation=ValidationConfig(**limits)))


@pytest.mark.parametrize(
    ("limits", "row", "words"),
    [
        ({"crs": ("epsg:32636",)}, {"source_crs": "EPSG:3857"}, "has the CRS EPSG:3857, expected epsg:32636"),
        ({"crs": ("EPSG:32636",)}, {"source_crs": "none"}, "has the CRS none"),
        ({"gsd_range_m": (0.1, 2)}, {"source_gsd_m": 3.0}, "has a GSD of 3 m, expected 0.1 to 2"),
        ({"max_size_px": 100}, {"width": 101}, "is 101 px wide, expected at most 100"),
        ({}, {"placed": False}, "nowhere on Earth"),
        ({"severity": {"labelled": "error"}}, {"labelled": False}, "has no labels"),
        ({"severity": {"same_file": "error"}}, {"same_file_as": "twin"}, "is the same file as scene 'twin'"),
        (
            {"severity": {"same_ground": "error"}},
            {"overlap": 0.95, "overlaps": "near"},
            "the same ground as scene 'near' in a part of 0.95, more than 0.9",
        ),
    ],
)
def test_each_limit_of_the_project_file_is_a_rule(limits, row, words):
    (reason,) = broken(rules_of(**limits), row, critical=True)
    assert words in reason


def test_a_rule_may_be_a_warning_or_off():
    row = {"source_crs": "none"}
    assert broken(rules_of(crs=("EPSG:32636",), severity={"crs": "warning"}), row, critical=True) == []
    assert len(broken(rules_of(crs=("EPSG:32636",), severity={"crs": "warning"}), row, critical=False)) == 1
    assert broken(rules_of(crs=("EPSG:32636",), severity={"crs": "off"}), row, critical=False) == []


def test_a_bare_off_in_yaml_is_off():
    text = "name: roofs\nclasses: [building]\nvalidation: {severity: {labelled: off}}"
    assert broken(scene_rules(parse_project(text, "roofs.yaml")), {"labelled": False}, critical=False) == []


def test_polygons_have_limits_in_pixels_and_square_metres():
    limits = ValidationConfig(min_label_area_px=9, label_area_m2=(4, 900))
    rules = annotation_rules(ProjectConfig(name="roofs", classes=("building",), validation=limits))
    said = broken(rules, {"class": "building", "valid": True, "area_px": 8.0, "area_m2": 1000.0}, critical=False)
    assert said == [
        "has a polygon of 8 pixels, smaller than 9",
        "has a polygon of 1000 m², expected 4 to 900 (validation.label_area_m2)",
    ]


def test_impossible_limits_are_wrong_usage():
    for limits, words in (
        ("{gsd_range_m: [2, 1]}", "gsd_range_m"),
        ("{max_size_px: 9}", "max_size_px 9 is below min_size_px 64"),
        ("{severity: {labels: error}}", "severity"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            parse_project(f"name: roofs\nclasses: [building]\nvalidation: {limits}", "roofs.yaml")
    with pytest.raises(ConfigurationError, match=r"validation\.crs 'EPSG:0' is unknown"):
        rules_of(crs=("EPSG:0",))


def item(checksum: str, west: float = 0.0, size: float = 1.0, day: str | None = None) -> dict:
    ring = [[west + x * size, y * size] for x, y in GROUND]
    return {
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "satseg:source": {"checksum": checksum},
            "satseg:datetime_is": "acquisition" if day else "ingest",
            "datetime": f"{day or '2026-01-01'}T00:00:00Z",
        },
    }


def test_duplicates_are_found_by_file_and_by_ground():
    known = {"old": item("1"), "far": item("2", west=9)}
    new = {"twin": item("1"), "shifted": item("3", west=0.25), "crop": item("4", west=9.1, size=0.5)}
    found = find_duplicates(new, known)
    assert found["twin"].same_file_as == "old"
    assert found["crop"] == Duplicate(None, pytest.approx(1.0), "far")
    assert found["shifted"].overlaps in {"old", "crop", "twin"}
    assert found["shifted"].overlap == pytest.approx(0.75)
    assert find_duplicates({"alone": item("5", west=50)}, known)["alone"] == Duplicate()


def test_scenes_of_two_days_may_show_the_same_ground():
    known = {"may": item("1", day="2026-05-01")}
    assert find_duplicates({"june": item("2", day="2026-06-01")}, known)["june"] == Duplicate()
    assert find_duplicates({"noon": item("3", day="2026-05-01")}, known)["noon"].overlaps == "may"
    assert find_duplicates({"undated": item("4")}, known)["undated"].overlaps == "may"


def test_scenes_in_pixel_space_have_no_ground_to_share():
    one, two = item("1"), item("2")
    one["geometry"] = two["geometry"] = None
    assert find_duplicates({"two": two}, {"one": one})["two"] == Duplicate()


@pytest.mark.parametrize(
    ("transform", "crs", "placed"),
    [
        (Affine(0.5, 0, 500_000, 0, -0.5, 40_000), "EPSG:32636", True),
        (Affine(1e-5, 0, 33, 0, -1e-5, 0.3), "EPSG:4326", True),
        (Affine(1e-5, 0, 33, 0, -1e-5, 500), "EPSG:4326", False),
        (Affine(0.5, 0, 9e9, 0, -0.5, 9e9), "EPSG:32636", False),
        (Affine(0.5, 0.5, 500_000, 0.5, 0.5, 40_000), "EPSG:32636", False),
        (Affine(1, 0, 0, 0, -1, 0), None, True),
    ],
)
def test_a_scene_lies_somewhere_on_earth(transform, crs, placed):
    assert is_placed(Grid(96, 96, transform, crs)) is placed


@pytest.mark.slow
def test_great_expectations_judges_by_the_same_rules_and_its_pages_need_no_network(workspace, ingest, good_drop, capfd):
    write_scene(good_drop / "twin.tif", seed=1)
    write_scene(good_drop / "no-place.tif", seed=3, crs=None, transform=None)
    write_labels(good_drop / "no-place.json", BOW_TIE)
    write_scene(good_drop / "lonely.tif", seed=4)
    write_labels(good_drop / "lonely.json", HOUSE, [[1, 1], [2, 1], [2, 2]])
    with rasterio.open(good_drop / "lonely.tif", "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="4 May 2024")
    (good_drop / "north").mkdir()
    (good_drop / "north" / "text.tif").write_text("no raster")
    strict = ProjectConfig(
        name="roofs",
        classes=("building",),
        validation=ValidationConfig(crs=("EPSG:32636",), label_area_m2=(1, 200), severity={"same_file": "error"}),
    )
    result = ingest(good_drop, what=strict)
    assert result.scenes == ["good", "lonely"]
    assert "same file as scene 'good'" in result.quarantined["twin"][0]
    assert "has the CRS none" in result.quarantined["no-place"][0]
    said = " | ".join(result.warnings)
    assert "quarantined north/text.tif: " in capfd.readouterr().err
    assert "lonely: its time of acquisition '4 May 2024' is no date" in said
    assert "lonely: has a polygon of 0.5 pixels, smaller than 4" in said
    assert "lonely: has a polygon of 225 m², expected 1 to 200" in said

    docs = workspace.validation("roofs") / "data_docs"
    pages = list(docs.rglob("*.html"))
    assert {page.relative_to(docs).parts[0] for page in pages} == {"index.html", "expectations", "validations"}
    for page in pages:
        text = page.read_text()
        assert not re.search(r"""<(script|link|img)\b[^>]*(src|href)=["']?https?:""", text), page
        assert not re.search(r"""url\(['"]?https?:""", text), page
        for style in re.findall(r'<link rel="stylesheet" href="([^"]+)"', text):
            assert (page.parent / style).is_file()
    front = (docs / "index.html").read_text()
    for words in (
        "Quarantined",
        "same file as scene &#x27;good&#x27;",
        "Warnings",
        "smaller than 4",
        "not a GeoTIFF, PNG or JPEG",
    ):
        assert words in front
    for target in re.findall(r'href="([^"]+\.html)"', front):
        assert (docs / target).is_file()


@pytest.mark.slow
def test_the_time_of_ingest_is_that_of_the_version(workspace, ingest, good_drop, monkeypatch):
    from satseg.config.settings import settings
    from satseg.datasets.catalog import open_version

    monkeypatch.setenv("SATSEG_INGEST_TIME", "2020-02-03T04:05:06+02:00")
    settings.cache_clear()
    try:
        ingest(good_drop)
    finally:
        settings.cache_clear()
    version = open_version(workspace, "roofs")
    moment = datetime(2020, 2, 3, 2, 5, 6, tzinfo=UTC)
    assert (version.created, version.scenes[0].ingested_at) == (moment, moment)
    assert version.scenes[0].item["properties"]["datetime"] == "2020-02-03T02:05:06Z"
