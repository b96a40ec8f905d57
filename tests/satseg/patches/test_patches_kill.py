"""Killed at any moment, run again: the same patch set. Side by side: no harm."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from patch_scenes import bytes_of, opened, patch

from satseg.patches import extract, finalise
from satseg.patches.patchset import list_patch_sets
from satseg.storage.layout import Workspace

FORK = multiprocessing.get_context("fork")


def die_in(target: object, name: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the process kill itself at the n-th call of a function."""
    real, calls = getattr(target, name), []

    def deadly(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, deadly)


def in_a_process(work: Callable[[], object]) -> int | None:
    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.parametrize(
    ("target", "name", "after"),
    [
        (extract, "decide", 0),
        (extract, "write_json", 0),
        (extract, "write_json", 1),
        (finalise, "check_leaks", 0),
        (finalise, "write_shard", 1),
        (finalise, "write_json", 0),
        (finalise, "write_json", 1),
        (finalise, "write_json", 2),
        (finalise, "tidy", 0),
    ],
)
def test_a_killed_run_is_made_good_by_the_next(  # noqa: PLR0917
    town: str, workspace: Workspace, tmp_path: Path, target: object, name: str, after: int
) -> None:
    undisturbed = Workspace(tmp_path / "undisturbed")
    expected = opened(undisturbed, patch(undisturbed))
    with pytest.MonkeyPatch.context() as patching:
        die_in(target, name, after, patching)
        assert in_a_process(lambda: patch(workspace)) == -signal.SIGKILL
    result = patch(workspace)
    made = opened(workspace, result)
    assert bytes_of(made) == bytes_of(expected)
    assert {path.name for path in made.folder.iterdir()} == {path.name for path in expected.folder.iterdir()}
    leftover = [path for path in workspace.patches("town").rglob("*") if path.name.startswith(".tmp-")]
    assert leftover == []


def test_nothing_counts_as_a_patch_set_before_its_marker(town: str, workspace: Workspace) -> None:
    with pytest.MonkeyPatch.context() as patching:
        die_in(finalise, "write_json", 1, patching)
        in_a_process(lambda: patch(workspace))
    assert list_patch_sets(workspace, "town") == []


def test_scenes_extracted_by_parallel_processes(town: str, workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "one-by-one")
    patch(workspace, step="plan")
    processes = [
        FORK.Process(target=patch, args=(workspace,), kwargs={"step": "extract", "scenes": [scene]})
        for scene in ("east", "north", "east")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    done = patch(workspace, step="finalise")
    assert bytes_of(opened(workspace, done)) == bytes_of(opened(other, patch(other)))


def test_two_whole_runs_at_once_make_one_set(town: str, workspace: Workspace) -> None:
    processes = [FORK.Process(target=patch, args=(workspace,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list_patch_sets(workspace, "town")) == 1
    assert not patch(workspace).changed
