"""`kill -9` of the real program at random moments, then once more undisturbed: the same patch set."""

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from patch_scenes import SceneSpec, Versions, bytes_of, scattered, small_project

from satseg.patches.patchset import PatchSet, list_patch_sets, open_patch_set
from satseg.storage.layout import Workspace

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killed_patch.py")
FEW, MANY = 3, 20
PATIENCE_S = 120.0


@dataclass
class Program:
    """`satseg patch` on the same scenes, in a workspace of one's choice."""

    folder: Path

    def start(self, workspace: Workspace) -> subprocess.Popen[str]:
        command = [sys.executable, SCRIPT, self.folder / "versions.pickle", "--project", self.folder / "town.yaml"]
        return subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, "SATSEG_WORKSPACE": str(workspace.root), "PYTHONPATH": str(SCRIPT.parent)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def seconds_of_work(self, workspace: Workspace, process: "subprocess.Popen[str]") -> float:
        """Wait for the first trace of work, then for the end; returns the seconds between."""
        wait_for_work(workspace, process)
        start = time.monotonic()
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        return time.monotonic() - start


def wait_for_work(workspace: Workspace, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + PATIENCE_S
    while not (workspace.root / "locks").exists() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = tmp_path_factory.mktemp("killed")
    versions = Versions(folder / "dataset")
    versions.add(
        SceneSpec("big", 400, 600, polygons=scattered(120, 400, 600, 1), seed=1),
        SceneSpec("small", 200, 260, offset_px=(5000, 0), polygons=scattered(30, 200, 260, 2), seed=2),
    )
    (folder / "versions.pickle").write_bytes(pickle.dumps(versions))
    project = small_project("patches.shard_mib=1").model_dump(mode="json")
    (folder / "town.yaml").write_text(yaml.safe_dump(project))
    return Program(folder)


@pytest.fixture(scope="module")
def undisturbed(program: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchSet, float]:
    """The patch set that nobody disturbed, and how long the work on it took."""
    workspace = Workspace(tmp_path_factory.mktemp("undisturbed") / "ws")
    seconds = program.seconds_of_work(workspace, program.start(workspace))
    return open_patch_set(workspace, "town"), seconds


def killed(program: Program, workspace: Workspace, after_s: float) -> bool:
    """Kill the program so long after its first trace; returns whether it was still at work."""
    process = program.start(workspace)
    wait_for_work(workspace, process)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    return process.returncode == -signal.SIGKILL


def check(program: Program, workspace: Workspace, expected: PatchSet) -> None:
    for description in list_patch_sets(workspace, "town"):  # what counts as complete is complete, before any repair
        assert bytes_of(open_patch_set(workspace, "town", description.id)) == bytes_of(expected)
    program.seconds_of_work(workspace, program.start(workspace))
    again = open_patch_set(workspace, "town")
    assert again.id == expected.id
    assert bytes_of(again) == bytes_of(expected)
    assert {path.name for path in again.folder.iterdir()} == {path.name for path in expected.folder.iterdir()}
    assert [path for path in workspace.patches("town").rglob("*") if path.name.startswith(".tmp-")] == []


@pytest.mark.parametrize("moments", [FEW, pytest.param(MANY, marks=pytest.mark.full)])
def test_killed_at_random_moments(
    program: Program, undisturbed: tuple[PatchSet, float], tmp_path: Path, moments: int
) -> None:
    expected, seconds = undisturbed
    chance = random.Random(moments)
    hits = 0
    for number in range(moments):
        workspace = Workspace(tmp_path / str(number))
        # spread over the whole of the work, at a random place within each part
        hits += killed(program, workspace, seconds * (number + chance.random()) / moments)
        check(program, workspace, expected)
        shutil.rmtree(workspace.root)
    assert hits >= moments / 2


def test_killed_again_and_again(program: Program, undisturbed: tuple[PatchSet, float], tmp_path: Path) -> None:
    expected, seconds = undisturbed
    workspace = Workspace(tmp_path / "ws")
    for number in range(FEW):
        killed(program, workspace, seconds * (number + 1) / (FEW + 1))
    check(program, workspace, expected)
