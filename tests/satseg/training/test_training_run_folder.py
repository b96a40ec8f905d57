import os
import subprocess

import numpy as np
import pytest

from satseg.config.project import parse_project
from satseg.errors import NotFoundError, TemporaryError
from satseg.stages import TrainResult, TrainSpec
from satseg.storage.atomic import exclusive
from satseg.training.interrupted import interrupted_training, training_lock
from satseg.training.run_folder import Progress, RunFolder


def spec(name="roads", seed=0, **more):
    project = parse_project(f"name: {name}\nclasses: [road]\n", "x.yaml", (f"training.seed={seed}",))
    return TrainSpec(project=project, patch_set="aaaaaaaaaaaa", **more)


def leave(workspace, key, what, *, age_s=0, failed=None, finished=False):
    folder = RunFolder(workspace.run(key))
    progress = folder.open()
    folder.keep_spec(what)
    folder.save(progress)
    if failed:
        folder.mark_failed(failed)
    if finished:
        folder.finish(TrainResult(message="", run_id="r", patch_set="p", epochs=1, best_epoch=1, val_iou=0.5))
        return
    state = folder.path / "state.json"
    stamp = state.stat().st_mtime - age_s
    os.utime(state, (stamp, stamp))


def test_resume_finds_the_newest_training_that_can_go_on(workspace):
    leave(workspace, "a", spec(seed=1), age_s=100)
    leave(workspace, "b", spec(seed=2), age_s=50)
    leave(workspace, "c", spec(seed=3), failed="The loss became nan")
    leave(workspace, "d", spec(seed=4), finished=True)
    leave(workspace, "e", spec(seed=5, trial="0a/1"))
    leave(workspace, "f", spec(name="rivers"))
    assert interrupted_training(workspace, "roads") == spec(seed=2)
    with exclusive(training_lock(workspace, "b"), "it"):  # it is running
        assert interrupted_training(workspace, "roads") == spec(seed=1)
    with pytest.raises(NotFoundError, match=r"No interrupted training of project 'forests'.*satseg train"):
        interrupted_training(workspace, "forests")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint_and_says_what_is_missing(small_disk):
    folder = RunFolder(small_disk / "run")
    progress = folder.open()
    progress.step = 1
    folder.save(progress, {"w": np.zeros(100_000)})
    kept = folder.open()
    with pytest.raises(TemporaryError, match=r"a checkpoint needs 4 MiB, \d MiB are free. Free space"):
        folder.save(Progress(step=2), {"w": np.ones(500_000)})
    assert folder.open() == kept
    assert folder.arrays(kept.checkpoint)["w"].sum() == 0
    assert sorted(path.suffix for path in folder.path.iterdir()) == [".json", ".jsonl", ".npz"]
    folder.save(Progress(step=2), {"w": np.ones(200_000)})  # once there is space
    assert folder.open().step == 2
