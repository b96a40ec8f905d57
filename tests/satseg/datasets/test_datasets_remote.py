"""Versions at a remote: sent, resumed when it was away, and enough to have everything again."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dataset_drops import write_scene
from ingest_process import Project
from s3_server import ACCESS_KEY, ENVIRONMENT, SECRET_KEY, S3Server

from satseg.cli.app import main
from satseg.config.settings import settings
from satseg.datasets import remote
from satseg.datasets.catalog import open_version
from satseg.datasets.checkouts import checkout
from satseg.datasets.checksums import sha256_of
from satseg.datasets.repository import GitRepository
from satseg.datasets.versions import shown_remote
from satseg.errors import ConfigurationError, TemporaryError

pytestmark = pytest.mark.slow
needs_s3 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("dvc_s3", "moto")),
    reason="needs dvc-s3 and moto (requirements.txt has both)",
)


@pytest.fixture
def set_remote(monkeypatch, workspace):
    def call(address: str | None, endpoint: str | None = None) -> None:
        for name, value in (("REMOTE", address), ("ENDPOINT_URL", endpoint)):
            if value is None:
                monkeypatch.delenv(f"SATSEG_DVC_{name}", raising=False)
            else:
                monkeypatch.setenv(f"SATSEG_DVC_{name}", value)
        monkeypatch.setenv("SATSEG_WORKSPACE", str(workspace.root))
        settings.cache_clear()

    yield call
    settings.cache_clear()


def lose(workspace) -> None:
    """Lose DVC's cache and the files of the working tree."""
    shutil.rmtree(workspace.data / ".dvc" / "cache")
    shutil.rmtree(workspace.dataset("roofs") / "scenes")


def test_a_version_made_while_the_remote_was_away_is_sent_by_the_next_ingest(workspace, ingest, tmp_path, set_remote):
    away = tmp_path / "mount" / "remote"
    (tmp_path / "mount").write_text("no folder: the disk is not mounted")
    set_remote(str(away))
    incoming = workspace.incoming("roofs")
    write_scene(incoming / "a.tif", seed=1)
    with pytest.raises(TemporaryError, match=r"version is made, but the DVC remote .* did not take it.*datasets push"):
        ingest()
    assert open_version(workspace, "roofs").name == "v1"
    with pytest.raises(TemporaryError, match="did not take it"):
        ingest()  # nothing is left to do but the sending
    assert list(incoming.iterdir()) == []
    with pytest.raises(TemporaryError, match="did not take it"):
        ingest()

    (tmp_path / "mount").unlink()
    assert ingest().new_scenes == ["a"]  # what the first one could not say
    result = ingest()  # an empty drop zone
    assert (result.dataset_version, result.changed) == ("v1", False)
    assert (away / "history.bundle").is_file()
    checksum = open_version(workspace, "roofs").scenes[0].checksum
    lose(workspace)
    assert sha256_of(open_version(workspace, "roofs").scenes[0].path) == checksum


def test_a_push_sends_each_version_once_and_a_new_remote_gets_all(workspace, ingest, tmp_path, set_remote, capsys):
    write_scene(tmp_path / "a" / "a.tif", seed=1)
    write_scene(tmp_path / "b" / "b.tif", seed=2)
    set_remote(None)
    with pytest.raises(ConfigurationError, match="no dataset version yet"):
        remote.push_now(workspace)
    ingest(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="SATSEG_DVC_REMOTE is not set"):
        remote.push_now(workspace)
    set_remote(str(tmp_path / "one"))
    ingest(tmp_path / "b")
    assert main(["datasets", "push", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"remote": str(tmp_path / "one"), "versions": [], "files": 0}
    set_remote(str(tmp_path / "two"))
    assert main(["datasets", "push", "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["versions"] == ["roofs/v1", "roofs/v2"]
    # 2 scenes, and of each version the lists of scenes and of (no) annotations, the latter the same
    assert pushed["files"] == 2 + 2 + 1


def test_the_remote_alone_is_enough_to_have_every_version_again(workspace, ingest, tmp_path, set_remote):
    set_remote(str(tmp_path / "remote"))
    write_scene(tmp_path / "a" / "a.tif", seed=1)
    ingest(tmp_path / "a")
    checksum = open_version(workspace, "roofs").scenes[0].checksum
    shutil.rmtree(workspace.root)
    workspace.root.mkdir()
    subprocess.run(["git", "clone", "-q", tmp_path / "remote" / "history.bundle", workspace.data], check=True)
    again = open_version(workspace, "roofs", "v1")
    assert sha256_of(again.scenes[0].path) == checksum
    write_scene(tmp_path / "b" / "b.tif", seed=2)
    assert ingest(tmp_path / "b").dataset_version == "v2"


@needs_s3
def test_versions_go_to_s3_and_come_back_and_keys_are_never_shown(  # noqa: PLR0917 - fixtures
    workspace, ingest, tmp_path, set_remote, monkeypatch, capfd
):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    write_scene(tmp_path / "a" / "a.tif", seed=1)
    write_scene(tmp_path / "b" / "b.tif", seed=2)
    with S3Server() as server:
        server.make_bucket("scenes")
        set_remote("s3://scenes/satseg", server.url)
        assert ingest(tmp_path / "a").dataset_version == "v1"
        server.stop()
        with pytest.raises(TemporaryError, match=r"version is made, but the DVC remote s3://scenes/satseg .*") as away:
            ingest(tmp_path / "b")
        server.start()  # moto forgets everything, as a new disk would
        server.make_bucket("scenes")
        pushed = remote.push_now(workspace)
        assert pushed.versions == ["roofs/v2"]
        assert pushed.files == 2 + 2 + 1
        keys = server.keys("scenes")
        assert "satseg/history.bundle" in keys
        assert len(keys) == 1 + pushed.files
        before = {scene.id: scene.checksum for scene in open_version(workspace, "roofs").scenes}
        lose(workspace)
        _, folder = checkout(workspace, "roofs", "v2", tmp_path / "out")
    found = {path.stem: sha256_of(path) for path in (folder / "scenes").iterdir()}
    assert found == before
    said = "".join(capfd.readouterr()) + str(away.value)
    written = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert secret not in said
        assert secret.encode() not in written


def test_a_password_in_the_address_is_not_shown():
    assert shown_remote("https://me:secret@store.example/path") == "https://store.example/path"
    assert shown_remote("s3://bucket/a@b") == "s3://bucket/a@b"


def test_an_address_nobody_understands_is_wrong_usage(workspace, ingest, tmp_path, set_remote):
    write_scene(tmp_path / "a" / "a.tif", seed=1)
    set_remote("nonsense://x/y")
    with pytest.raises((ConfigurationError, TemporaryError), match="SATSEG_DVC_REMOTE"):
        ingest(tmp_path / "a")
    assert GitRepository(workspace.data).tags("roofs")[0].name == "v1"


def test_two_ingests_at_once_make_two_versions_one_after_the_other(tmp_path):
    project = Project(tmp_path / "p", {})
    for name, seed in (("a", 1), ("b", 2)):
        write_scene(project.root / name / f"{name}.tif", seed=seed)
    both = [project.start("ingest", name, "--json") for name in ("a", "b")]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sorted(json.loads(out)["dataset_version"] for out, _ in ends) == ["v1", "v2"]
    assert any("another ingest of project 'roofs' is at work; waiting for it" in said for _, said in ends)
    newest = open_version(project.workspace, "roofs")
    assert [scene.id for scene in newest.scenes] == ["a", "b"]
    assert all(sha256_of(Path(scene.path)) == scene.checksum for scene in newest.scenes)
    assert GitRepository(project.workspace.data).run("fsck", "--strict", "--no-dangling") == b""
