import json

import pytest

from satseg.datasets import quarantine as module
from satseg.datasets.quarantine import Rejected, move_file, quarantine, resolve


@pytest.fixture
def rejected(tmp_path) -> Rejected:
    source = tmp_path / "drop"
    source.mkdir()
    (source / "bad.tif").write_bytes(b"text")
    return Rejected("bad", "bad.tif", (source / "bad.tif",), ("is no raster",))


def test_file_and_reasons_lie_in_quarantine_and_the_source_is_untouched(tmp_path, rejected):
    def inode() -> tuple[int, int, int]:
        status = (tmp_path / "drop" / "bad.tif").stat()
        return status.st_mtime_ns, status.st_ctime_ns, status.st_nlink

    before = inode()
    quarantine(tmp_path / "q", rejected, tmp_path / "drop")
    entry = json.loads((tmp_path / "q/bad/reasons.json").read_text())
    assert entry["reasons"] == ["is no raster"]
    assert {"files", "time", "how_to_mend", "source"} <= entry.keys()
    assert (tmp_path / "q/bad/bad.tif").read_bytes() == b"text"
    assert inode() == before


def test_large_files_are_linked(tmp_path, rejected, monkeypatch):
    monkeypatch.setattr(module, "COPY_UP_TO_BYTES", 1)
    quarantine(tmp_path / "q", rejected, tmp_path / "drop")
    assert (tmp_path / "q/bad/bad.tif").is_symlink()
    assert (tmp_path / "q/bad/bad.tif").read_bytes() == b"text"


def test_a_second_quarantine_replaces_the_first(tmp_path, rejected):
    quarantine(tmp_path / "q", rejected, tmp_path / "drop")
    quarantine(tmp_path / "q", Rejected("bad", "bad.tif", (), ("other",)), tmp_path / "drop")
    assert [path.name for path in (tmp_path / "q").rglob("*")] == ["bad", "reasons.json"]


def test_an_accepted_scene_resolves_its_entry(tmp_path, rejected):
    quarantine(tmp_path / "q", rejected, tmp_path / "drop")
    resolve(tmp_path / "q", "bad", "v3")
    resolve(tmp_path / "q", "bad", "v4")
    resolve(tmp_path / "q", "never seen", "v3")
    assert json.loads((tmp_path / "q/bad/reasons.json").read_text())["resolved_by"] == "v3"


def test_moving_to_another_file_system_leaves_nothing_behind(tmp_path, rejected, monkeypatch):
    source = tmp_path / "drop" / "bad.tif"
    original = type(source).replace

    def refuse_across(self, target):
        if self.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        return original(self, target)

    monkeypatch.setattr(type(source), "replace", refuse_across)
    move_file(source, tmp_path / "far" / "bad.tif")
    assert (tmp_path / "far/bad.tif").read_bytes() == b"text"
    assert not source.exists()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["bad.tif"]
