"""Killed at any moment, run again: the same patch set. Side by side: no harm."""

import signal

import pytest
from patch_children import run_children
from patch_scenes import Versions, bytes_of, opened, patch

from satseg.patches.patchset import PatchSet, list_patch_sets
from satseg.storage.layout import Workspace

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL
EXTRACT, FINALISE, GENERATE = "satseg.patches.extract", "satseg.patches.finalise", "satseg.patches.generate"


@pytest.mark.parametrize(
    "kill",
    [
        (EXTRACT, "decide", 1),
        (GENERATE, "finalise", 1),
        (FINALISE, "write_shard", 2),
        (FINALISE, "write_json", 2),
        (FINALISE, "tidy", 1),
    ],
    ids=lambda kill: f"{kill[0].rpartition('.')[2]}-{kill[1]}",
)
def test_a_killed_run_is_made_good_by_the_next(
    town: str, versions: Versions, workspace: Workspace, made: PatchSet, kill: tuple[str, str, int]
) -> None:
    assert run_children(versions, workspace, {}, kill=kill) == [KILLED]
    again = opened(workspace, patch(workspace))
    assert bytes_of(again) == bytes_of(made)
    assert {path.name for path in again.folder.iterdir()} == {path.name for path in made.folder.iterdir()}
    assert [path for path in workspace.patches("town").rglob("*") if path.name.startswith(".tmp-")] == []


def test_nothing_counts_as_a_patch_set_before_its_marker(town: str, versions: Versions, workspace: Workspace) -> None:
    assert run_children(versions, workspace, {}, kill=(FINALISE, "write_json", 2)) == [KILLED]
    assert list_patch_sets(workspace, "town") == []


def test_scenes_extracted_by_parallel_processes(
    town: str, versions: Versions, workspace: Workspace, made: PatchSet
) -> None:
    patch(workspace, step="plan")
    steps = [{"step": "extract", "scenes": [scene]} for scene in ("east", "north", "east")]
    assert run_children(versions, workspace, *steps) == [0, 0, 0]
    assert bytes_of(opened(workspace, patch(workspace, step="finalise"))) == bytes_of(made)


def test_two_whole_runs_at_once_make_one_set(town: str, versions: Versions, workspace: Workspace) -> None:
    assert run_children(versions, workspace, {}, {}) == [0, 0]
    assert len(list_patch_sets(workspace, "town")) == 1
    assert not patch(workspace).changed
