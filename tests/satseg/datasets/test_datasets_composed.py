"""Scenes given as several files: what is understood, and what is refused with its reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_drops import HOUSE, write_labels, write_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from satseg.datasets.composed import Composition, checksum_of, read_composition
from satseg.datasets.discovery import discover
from satseg.errors import BadDataError

BANDS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}


def write_bands(folder: Path, **profile: Any) -> dict[str, Path]:
    return {
        key: write_scene(folder / f"{key}.tif", 1, 1, **{"dtype": "uint16", "nodata": 0} | profile) for key in BANDS
    }


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_36NVF_20260504",
        "geometry": None,
        "properties": {"datetime": "2026-05-04T08:15:30.123Z"} | properties,
        "links": [],
        "assets": assets,
    }


def eo_asset(key: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "href": f"./{key}.tif",
        "roles": ["data"],
        "eo:bands": [{"name": key, "common_name": name}],
        "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
    } | more


def written(path: Path, tree: Any) -> Composition:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
    found = read_composition(path)
    assert found is not None
    return found


def test_a_stac_item_tells_bands_scale_and_time(tmp_path):
    files = write_bands(tmp_path)
    found = written(tmp_path / "item.json", item({key: eo_asset(key, name) for key, name in BANDS.items()}))
    assert (found.id, found.acquired) == ("S2A_36NVF_20260504", "2026-05-04T08:15:30.123Z")
    chosen = found.choose(("red", "NIR", "B02"), {})
    assert [member.path for member in chosen.values()] == [files["B04"], files["B08"], files["B02"]]
    assert {(member.scale, member.offset, member.nodata) for member in chosen.values()} == {(1e-4, -0.1, 0.0)}


def test_stac_1_1_bands_are_understood(tmp_path):
    write_bands(tmp_path)
    band = {"name": "B04", "eo:common_name": "red", "raster:scale": 0.01, "raster:offset": 2, "nodata": "nan"}
    found = written(tmp_path / "a.json", item({"x": {"href": "B04.tif", "bands": [band]}}))
    member = found.choose(("red",), {})["red"]
    assert (member.scale, member.offset) == (0.01, 2.0)
    assert member.nodata != member.nodata


def test_what_a_stac_1_1_asset_says_holds_for_its_bands(tmp_path):
    write_bands(tmp_path)
    fields = {
        "eo:common_name": "red",
        "nodata": 0,
        "raster:scale": 0.0001,
        "raster:offset": -0.1,
        "data_type": "uint16",
    }
    alone = written(tmp_path / "a.json", item({"x": {"href": "B04.tif", **fields}})).choose(("red",), {})["red"]
    assert (alone.scale, alone.offset, alone.nodata) == (1e-4, -0.1, 0.0)
    band = {"name": "B04", "raster:offset": 5, "nodata": 9}
    both = written(tmp_path / "b.json", item({"x": {"href": "B04.tif", **fields, "bands": [band]}}))
    for name in ("red", "B04"):
        member = both.choose((name,), {})[name]
        assert (member.scale, member.offset, member.nodata) == (1e-4, 5.0, 9.0)


def test_addresses_of_an_archive_are_looked_for_beside_the_item(tmp_path):
    files = write_bands(tmp_path)
    href = "https://archive.example/s2/36NVF/B04.tif?signature=abc"
    found = written(tmp_path / "a.json", item({"red": {"href": href}}))
    assert found.choose(("red",), {})["red"].path == files["B04"]


def test_an_asset_of_one_band_comes_before_a_picture_of_three(tmp_path):
    files = write_bands(tmp_path)
    write_scene(tmp_path / "picture.tif")
    three = {"href": "picture.tif", "eo:bands": [{"common_name": name} for name in ("red", "green", "blue")]}
    assets = {"all": three, "look": {**three, "roles": ["visual"]}, "zz": eo_asset("B04", "red")}
    found = written(tmp_path / "a.json", item(assets))
    chosen = found.choose(("red", "green"), {})
    assert chosen["red"].path == files["B04"]
    assert (chosen["green"].path.name, chosen["green"].index) == ("picture.tif", 2)


def test_what_no_driver_of_ours_reads_is_no_band(tmp_path):
    write_bands(tmp_path)
    (tmp_path / "B04.jp2").write_bytes(b"x")
    found = written(tmp_path / "a.json", item({"red": {"href": "B04.jp2"}, "nir": {"href": "B08.tif"}}))
    with pytest.raises(BadDataError, match=r"a\.json has no band 'red', only nir; .*band_names"):
        found.choose(("nir", "red"), {})


def test_a_band_whose_file_is_missing_is_said(tmp_path):
    write_bands(tmp_path)
    found = written(tmp_path / "a.json", item({"red": {"href": "gone.tif"}, "nir": {"href": "B08.tif"}}))
    with pytest.raises(BadDataError, match=r"no band 'red', only nir; files that are not there: gone\.tif"):
        found.choose(("red",), {})


SCENE = """
bands:
  red: B04.tif
  nir: {file: sub/B08.tif, index: 1, scale: 0.001, nodata: 5}
scale: 0.0001
offset: -0.1
acquired: 2026-05-04T10:20:00Z
"""


def test_a_scene_file_in_yaml_tells_the_same(tmp_path):
    write_scene(tmp_path / "lake" / "B04.tif", 1, 1)
    write_scene(tmp_path / "lake" / "sub" / "B08.tif", 1, 1)
    path = tmp_path / "lake" / "scene.yaml"
    path.write_text(SCENE)
    found = read_composition(path)
    assert (found.id, found.acquired) == ("lake", "2026-05-04T10:20:00+00:00")
    chosen = found.choose(("nir", "red"), {})
    assert [(m.path.name, m.scale, m.offset, m.nodata) for m in chosen.values()] == [
        ("B08.tif", 0.001, -0.1, 5.0),
        ("B04.tif", 0.0001, -0.1, None),
    ]
    assert found.choose(("r",), {"r": "red"})["r"].path.name == "B04.tif"


def test_a_scene_file_finds_its_bands_when_all_lie_in_one_folder(tmp_path):
    write_scene(tmp_path / "B08.tif", 1, 1)
    (tmp_path / "lake.yaml").write_text("bands: {nir: sub/B08.tif}")
    assert read_composition(tmp_path / "lake.yaml").members == (tmp_path / "B08.tif",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bands: {red: ../B04.tif}", r"names \.\./B04\.tif, which is no file in its folder or below"),
        ("bands: {red: /etc/passwd}", "which is no file in its folder"),
        ("bands: {red: 'https://a.example/B05.tif'}", "which is no file in its folder"),
        ('bands: {red: "a\\0.tif"}', "which is no file in its folder"),
        ("bands: {red: 5}", "band red must be a file name or a mapping"),
        ("bands: {red: {path: B04.tif}}", "band red must be a file name or a mapping"),
        ("bands: {red: {file: B04.tif, scale: big}}", "scale is 'big', which is no number"),
        ("bands: {red: {file: B04.tif, index: 0}}", "index is 0; bands count from 1"),
        ("bands: {red: B04.tif}\ncloud: 3", "unknown key cloud; known are acquired, bands"),
    ],
)
def test_a_wrong_scene_file_is_refused_with_its_reason(tmp_path, text, words):
    write_scene(tmp_path / "drop" / "B04.tif", 1, 1)
    (tmp_path / "B04.tif").write_bytes((tmp_path / "drop" / "B04.tif").read_bytes())
    path = tmp_path / "drop" / "a.yaml"
    path.write_text(text)
    with pytest.raises(BadDataError, match=words):
        read_composition(path)
    problems = [scene.problem for scene in discover(tmp_path / "drop").scenes if scene.raster == path]
    assert problems and problems[0].startswith("a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        '{"shapes": []}',
        "name: buildings",
        "- 1",
        "{",
        "bands: [red, green]",
        '{"stac_version": "1.0.0"}',
        "\0",
        "[" * 9,
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_other_files_are_left_alone(tmp_path, text, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text(text)
    assert read_composition(path) is None


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["href", "eo:bands", "bands", "name", "file", "scale"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    ),
    st.booleans(),
)
def test_no_content_gets_past_the_refusals(tmp_path_factory, tree, stac):
    path = tmp_path_factory.mktemp("any") / ("a.json" if stac else "a.yaml")
    whole = item({"red": tree, "nir": {"href": "B.tif", "eo:bands": tree}}) if stac else {"bands": {"red": tree}}
    path.write_text(json.dumps(whole))
    try:
        found = read_composition(path)
    except BadDataError:
        return
    assert found is None or found.members == ()


# --- in a drop ------------------------------------------------------------------------------------------------


def test_members_are_no_scenes_of_their_own(tmp_path):
    files = write_bands(tmp_path / "s2")
    files["B04"].with_suffix(".tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    written(tmp_path / "s2" / "item.json", item({key: eo_asset(key, name) for key, name in BANDS.items()}))
    write_labels(tmp_path / "S2A_36NVF_20260504.json", HOUSE)
    write_scene(tmp_path / "other.tif")
    other, scene = sorted(discover(tmp_path).scenes, key=lambda scene: scene.id, reverse=True)
    assert (other.id, other.composition) == ("other", None)
    assert scene.id == "S2A_36NVF_20260504"
    assert scene.labels == tmp_path / "S2A_36NVF_20260504.json"
    assert set(scene.files) == {
        *files.values(), files["B04"].with_suffix(".tfw"), tmp_path / "s2" / "item.json", scene.labels,
    }  # fmt: skip
    assert discover(tmp_path).ignored == ()


def test_two_scenes_of_one_id_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        write_bands(tmp_path / folder)
        written(tmp_path / folder / "item.json", item({"red": eo_asset("B04", "red")}))
    first, second = (scene for scene in discover(tmp_path).scenes if scene.raster.name == "item.json")
    assert {bool(first.problem), bool(second.problem)} == {True, False}
    assert "belongs to" in (first.problem or second.problem)


def test_one_description_alone_can_be_ingested(tmp_path):
    files = write_bands(tmp_path)
    write_scene(tmp_path / "other.tif")
    written(tmp_path / "lake.json", item({key: eo_asset(key, name) for key, name in BANDS.items()}))
    (scene,) = discover(tmp_path / "lake.json").scenes
    assert set(scene.composition.members) == set(files.values())


def test_the_checksum_is_of_the_pixels_and_their_order(tmp_path):
    write_bands(tmp_path / "a")
    write_bands(tmp_path / "b")
    text = "bands: {red: B04.tif, nir: B08.tif}"
    found = []
    for name in ("a/x.yaml", "b/y.yaml"):
        (tmp_path / name).write_text(text)
        found.append(read_composition(tmp_path / name))
    write_scene(tmp_path / "b" / "B08.tif", 2, 1, dtype="uint16", nodata=0)
    one, other = found
    assert checksum_of(one.choose(("red",), {})) == checksum_of(other.choose(("red",), {}))
    assert checksum_of(one.choose(("nir",), {})) != checksum_of(other.choose(("nir",), {}))
    assert checksum_of(one.choose(("red", "nir"), {})) != checksum_of(one.choose(("red",), {}))
