"""Scenes taken out of a dataset: gone from the next version, there in all before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_drops import HOUSE, write_labels, write_scene
from killed_removal import PLACES

from satseg.cli.app import main
from satseg.config.settings import settings
from satseg.datasets import removal
from satseg.datasets.catalog import list_versions, open_version
from satseg.datasets.checkouts import checkout
from satseg.datasets.checksums import sha256_of
from satseg.datasets.listing import versions_table
from satseg.datasets.names import window_scene
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError, NotFoundError
from satseg.lineage.chain import run as lineage
from satseg.stages import LineageSpec, RemoveScenesSpec

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killed_removal.py")


@pytest.fixture
def two(ingest, good_drop):
    """Version v1 of the scenes 'good' (labelled) and 'other'."""
    write_scene(good_drop / "other.tif", seed=2)
    ingest(good_drop)
    return good_drop


@pytest.fixture
def remove(workspace, project):
    def call(*scenes, reason=""):
        return removal.run(RemoveScenesSpec(project=project, scenes=list(scenes), reason=reason), workspace)

    return call


def scenes_of(workspace, version=None):
    return [scene.id for scene in open_version(workspace, "roofs", version).scenes]


def test_the_next_version_lacks_the_scene_and_the_old_one_keeps_every_file(workspace, two, remove, tmp_path, project):
    before = {
        scene.id: (scene.checksum, scene.annotation_checksum) for scene in open_version(workspace, "roofs").scenes
    }
    done = remove("good", reason="taken\nback")
    assert (done.dataset_version, done.changed, done.removed, done.warnings) == ("v2", True, ["good"], [])
    assert scenes_of(workspace) == ["other"]
    assert [row["changes"] for row in versions_table(workspace, "roofs")][1] == [
        "removed: good",
        "reason: taken\\nback",
    ]
    folder = workspace.dataset("roofs")
    assert [path for path in folder.rglob("*") if path.stem == "good"] == []
    assert "good" not in (folder / "collection.json").read_text()
    assert GitRepository(workspace.data).run("status", "--porcelain") == b""

    old = open_version(workspace, "roofs", "v1")
    assert {scene.id: (sha256_of(scene.path), scene.annotation_checksum) for scene in old.scenes} == before
    assert sha256_of(old.scenes[0].annotations) == before["good"][1]
    assert checkout(workspace, "roofs", "v1", tmp_path / "v1")[0].name == "v1"
    assert [path.name for path in (tmp_path / "v1").rglob("good.tif")] == ["good.tif"]

    chain = lineage(LineageSpec(project=project, target="good"), workspace).chain
    assert (chain[0]["kind"], chain[1]["id"]) == ("scene", "v1")
    assert chain[0]["facts"]["removed_by"] == "dataset version v2"


def test_ingested_again_it_is_back(workspace, two, remove, ingest):
    remove("good")
    assert ingest(two).new_scenes == ["good"]
    assert scenes_of(workspace) == ["good", "other"]
    assert not ingest(two).changed


def test_what_is_gone_or_unknown_or_the_last_makes_no_version(workspace, two, remove):
    with pytest.raises(NotFoundError, match=r"scene 'goood'. Did you mean 'good'\?.*datasets show -p roofs"):
        remove("good", "goood")
    with pytest.raises(ConfigurationError, match="v1 of project 'roofs' would be left without a scene"):
        remove("good", "other")
    assert list_versions(workspace, "roofs") == ["v1"]
    remove("good")
    again = remove("good")
    assert (again.dataset_version, again.changed, again.removed) == ("v2", False, [])
    assert list_versions(workspace, "roofs") == ["v1", "v2"]


def test_windows_cut_out_of_it_are_named(workspace, two, remove, ingest):
    window = window_scene("good", 0, 64)
    write_scene(two / f"{window}.tif", seed=3)
    write_labels(two / f"{window}.json", HOUSE)
    ingest(two)
    assert remove("good").warnings == [
        f"windows cut out of what was removed stay: {window}; name them too to take them out"
    ]
    assert not remove(window).warnings


SMALL = ("before the commit", "after the tag")


@pytest.mark.parametrize(
    "point", [*SMALL, *(pytest.param(p, marks=pytest.mark.full) for p in PLACES if p not in SMALL)]
)
def test_a_killed_removal_run_again_gives_what_an_undisturbed_one_gives(workspace, two, remove, ingest, point):
    killed = subprocess.run(
        [sys.executable, SCRIPT, workspace.root, point], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    between = open_version(workspace, "roofs")  # readers see a whole version
    assert [scene.id for scene in between.scenes] == {"v1": ["good", "other"], "v2": ["other"]}[between.name]
    assert remove("good").dataset_version == "v2"
    assert scenes_of(workspace) == ["other"]
    assert GitRepository(workspace.data).run("status", "--porcelain") == b""
    assert ingest(two).new_scenes == ["good"]


def test_the_command_asks_unless_told_yes(workspace, two, tmp_path, monkeypatch, capsys):
    (tmp_path / "roofs.yaml").write_text("name: roofs\nclasses: [building]\n")
    monkeypatch.setenv("SATSEG_WORKSPACE", str(workspace.root))
    settings.cache_clear()
    asked = ["datasets", "remove", "good", "-p", str(tmp_path / "roofs.yaml")]
    assert main(asked) == 2
    assert "Nobody is there to be asked; give --yes." in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer in ("n", ""):
        monkeypatch.setattr("typer._click.termui.visible_prompt_func", lambda _, answer=answer: answer)
        assert main(asked) == 4
        assert "Nothing was removed." in capsys.readouterr().err
    assert list_versions(workspace, "roofs") == ["v1"]
    assert main([*asked, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == ["good"]
    settings.cache_clear()
