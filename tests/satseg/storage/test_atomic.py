import json
import os
import signal
import subprocess
import sys
import time

import pytest

from satseg.errors import ConfigurationError, LockHeldError
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory, replacing_file, write_json
from satseg.storage.layout import Workspace


def test_file_appears_whole_and_replaces_the_old(tmp_path):
    target = tmp_path / "deep" / "a.json"
    write_json(target, {"b": 1, "a": "ä"})
    write_json(target, {"b": 2})
    assert json.loads(target.read_text()) == {"b": 2}
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_the_old_file_and_no_temp(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing_file(target) as temp:
        temp.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_directory_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "d"
    for content in ("one", "two"):
        with replacing_directory(target) as temp:
            (temp / f"{content}.txt").write_text(content)
    assert [path.name for path in target.iterdir()] == ["two.txt"]
    with pytest.raises(RuntimeError), replacing_directory(target):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_stale_temps_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".tmp-1-a.tif").write_text("x")
    (tmp_path / ".tmp-2-d").mkdir()
    (tmp_path / "keep.tif").write_text("x")
    remove_stale_temps(tmp_path)
    remove_stale_temps(tmp_path / "missing")
    assert [path.name for path in tmp_path.iterdir()] == ["keep.tif"]


def test_lock_excludes_others_and_ends_with_kill_9(tmp_path):
    lock = tmp_path / "data.lock"
    code = (
        "import sys, time; from pathlib import Path; from satseg.storage.atomic import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'test'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "held"
    with (
        pytest.raises(LockHeldError, match="worked on by another process"),
        exclusive(lock, "The dataset", timeout_s=0.2),
    ):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    start = time.monotonic()
    with exclusive(lock, "The dataset", timeout_s=5):
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", ["..", "a/b", "", "a b", ".hidden", "x" * 200, "a..b"])
def test_names_that_could_leave_the_workspace_are_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="not usable as a file name"):
        Workspace(tmp_path).drift_night("buildings", name)
