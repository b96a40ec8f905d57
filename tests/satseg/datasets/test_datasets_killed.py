"""`kill -9` of an ingest at every step that changes something, then the same ingest again."""

import subprocess
import sys
from pathlib import Path

import pytest
from dataset_drops import HOUSE, write_labels, write_scene
from killed_ingest import PLACES

from satseg.datasets.catalog import list_versions, open_version
from satseg.datasets.repository import GitRepository

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killed_ingest.py")


@pytest.mark.parametrize("point", PLACES)
def test_a_killed_ingest_run_again_gives_what_an_undisturbed_one_gives(workspace, ingest, tmp_path, point):
    write_scene(tmp_path / "first" / "old.tif", seed=1)
    ingest(tmp_path / "first")
    incoming = workspace.incoming("roofs")
    write_scene(incoming / "house.tif", seed=2)
    write_labels(incoming / "house.json", HOUSE)
    (incoming / "text.tif").write_text("text")
    killed = subprocess.run(
        [sys.executable, SCRIPT, workspace.root, point], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    # readers see a whole version in between
    names = {"v1": ["old"], "v2": ["house", "old"]}
    between = open_version(workspace, "roofs")
    assert [scene.id for scene in between.scenes] == names[between.name]

    result = ingest()
    assert (result.dataset_version, result.changed) == ("v2", True)
    assert (result.scenes, result.new_scenes, list(result.quarantined)) == (["house"], ["house"], ["text"])
    assert list_versions(workspace, "roofs") == ["v1", "v2"]
    assert [scene.id for scene in open_version(workspace, "roofs").scenes] == ["house", "old"]
    assert list(incoming.iterdir()) == []
    assert GitRepository(workspace.data).run("status", "--porcelain") == b""
    left = [p for p in workspace.root.rglob("*") if p.name.startswith(".tmp-") or p.name == "scene.json"]
    assert left == []
    assert not ingest().changed
