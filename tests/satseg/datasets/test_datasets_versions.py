"""Versions as people see them: made when something changed, with exactly what, and laid out to look into."""

import json
from typing import Any

import pytest
from dataset_drops import BOW_TIE, HOUSE, write_labels, write_scene

from satseg.annotations.table import read_table
from satseg.cli.app import main
from satseg.config.settings import settings
from satseg.datasets.catalog import open_version
from satseg.datasets.changes import changes_between
from satseg.datasets.checkouts import checkout
from satseg.datasets.checksums import sha256_of
from satseg.datasets.difference import difference
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError

SHED = [[50, 50], [60, 50], [60, 60], [50, 60]]


def item(pixels: str, labels: str | None = None, note: str = "") -> dict:
    return {"properties": {"satseg:checksum": pixels, "satseg:annotation_checksum": labels, "note": note}}


def test_changes_are_told_apart_and_named():
    before = {"a": item("1"), "b": item("1"), "c": item("1", "x"), "d": item("1"), "e": item("1")}
    after = {"b": item("2"), "c": item("1", "y"), "d": item("1", note="other"), "e": item("1"), "f": item("1")}
    found = changes_between(before, after)
    assert (found.added, found.removed, found.pixels_changed) == (["f"], ["a"], ["b"])
    assert (found.labels_changed, found.metadata_changed) == (["c"], ["d"])
    assert found.message.splitlines() == [
        "1 added, 3 changed, 1 removed (f, b, c, d, a)",
        "",
        "added: f",
        "removed: a",
        "pixels changed: b",
        "labels changed: c",
        "metadata changed: d",
    ]


def test_a_long_list_is_cut_in_the_first_line_only():
    found = changes_between({}, {f"s{number:02}": item("1") for number in range(12)})
    assert found.message.startswith("12 added (s00, s01, s02, s03, s04, s05, s06, s07, s08, s09, …)\n\nadded: s00\n")
    assert found.message.count("added: ") == 12


@pytest.fixture
def ask(workspace, tmp_path, monkeypatch, capsys):
    """Ask `satseg datasets …` for JSON."""
    (tmp_path / "roofs.yaml").write_text("name: roofs\nclasses: [building]\n")
    monkeypatch.setenv("SATSEG_WORKSPACE", str(workspace.root))
    settings.cache_clear()

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert main(["datasets", *arguments, "-p", str(tmp_path / "roofs.yaml"), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    yield call
    settings.cache_clear()


@pytest.mark.slow
def test_ingested_twice_one_version_one_scene_more_the_next_and_diff_says_exactly_that(
    workspace, ingest, good_drop, ask, tmp_path
):
    assert ingest(good_drop).changed
    assert not ingest(good_drop).changed
    assert [row["version"] for row in ask("list")] == ["v1"]

    write_scene(good_drop / "two.tif", seed=2)
    assert ingest(good_drop).dataset_version == "v2"
    assert [(row["version"], row["scenes"], row["changes"]) for row in ask("list")] == [
        ("v1", 1, ["added: good"]),
        ("v2", 2, ["added: two"]),
    ]
    assert ask("diff", "v1", "v2") == {
        "old": "v1",
        "new": "v2",
        "added": ["two"],
        "removed": [],
        "pixels_changed": [],
        "labels_changed": [],
        "metadata_changed": [],
        "labels": {},
    }
    shown = ask("show", "v2")
    assert (shown["message"], [row["scene"] for row in shown["scenes"]]) == ("1 added (two)", ["good", "two"])
    assert ask("checkout", "v1", "--out", str(tmp_path / "look"))["scenes"] == 1
    tag = GitRepository(workspace.data).run("tag", "-l", "--format=%(contents)", "roofs/v2").decode()
    assert tag.strip() == "1 added (two)\n\nadded: two"


@pytest.mark.slow
def test_a_diff_counts_the_polygons_that_came_and_went(workspace, ingest, good_drop):
    ingest(good_drop)
    write_labels(good_drop / "good.json", SHED, BOW_TIE)
    write_scene(good_drop / "new.tif", seed=3)
    ingest(good_drop)
    (good_drop / "new.json").write_text(json.dumps({"shapes": [], "imageWidth": 96, "imageHeight": 96}))
    ingest(good_drop)
    first = difference(workspace, "roofs", "v1", "v2")
    assert (first.scenes.added, first.scenes.labels_changed) == (["new"], ["good"])
    labels = first.labels["good"]
    assert (labels.before, labels.after) == ({"building": 1}, {"building": 2})
    assert (labels.added, labels.removed) == (2, 1)
    second = difference(workspace, "roofs", "v2", None).labels["new"]
    assert (second.before, second.after, second.added, second.removed) == (None, {}, 0, 0)
    back = difference(workspace, "roofs", "v3", "v1")
    assert (back.scenes.removed, back.labels["good"].added) == (["new"], 1)


@pytest.mark.slow
@pytest.mark.parametrize("link", [False, True])
def test_a_checkout_keeps_its_content_whatever_comes_later(workspace, ingest, good_drop, tmp_path, link):
    ingest(good_drop)
    old = open_version(workspace, "roofs").scenes[0]
    _, folder = checkout(workspace, "roofs", "v1", tmp_path / "look", link=link)
    write_scene(good_drop / "good.tif", seed=1, nodata=3)
    write_labels(good_drop / "good.json", HOUSE, SHED)
    assert ingest(good_drop).dataset_version == "v2"
    assert open_version(workspace, "roofs").scenes[0].checksum != old.checksum
    assert sha256_of(folder / "scenes" / "good.tif") == old.checksum
    assert len(read_table(folder / "annotations" / "good.geojson")) == 1
    assert json.loads((folder / "items" / "good.json").read_text()) == old.item
    inode = (workspace.dataset("roofs") / "scenes" / "good.tif").stat().st_ino
    assert (folder / "scenes" / "good.tif").stat().st_ino != inode
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    with pytest.raises(ConfigurationError, match="look exists"):
        checkout(workspace, "roofs", "v1", tmp_path / "look")
