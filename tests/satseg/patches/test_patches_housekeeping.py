"""Which patch sets are listed, and which are removed."""

import json
import os
import shutil
import threading
import time
from collections import defaultdict

import pytest
from patch_scenes import patch, small_project

from satseg.cli.app import main
from satseg.patches import housekeeping
from satseg.patches.extract import LOCK_FILE
from satseg.patches.housekeeping import patch_set_states, prune
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace


@pytest.fixture
def three(town: str, workspace: Workspace) -> list[str]:
    """Three patch sets; the last is the one meant when none is named."""
    strides = (32, 24, 16)
    return [patch(workspace, small_project(f"patches.stride_px={stride}")).patch_set for stride in strides]


def trained_on(monkeypatch: pytest.MonkeyPatch, models: dict[str, list[str]], running: dict[str, list[str]]) -> None:
    def users(workspace: Workspace, project: str) -> housekeeping.Users:
        return defaultdict(list, models), defaultdict(list), defaultdict(list, running)

    monkeypatch.setattr(housekeeping, "_users", users)


def test_old_patch_sets_are_removed_and_the_named_one_stays(three: list[str], workspace: Workspace) -> None:
    states = patch_set_states(workspace, "town")
    assert [state.id for state in states] == three
    assert [bool(state.needed) for state in states] == [False, False, True]
    assert all(state.size_bytes > 10_000 for state in states)
    pruned = prune(workspace, "town")
    assert [state.id for state in pruned.removed] == three[:2]
    assert pruned.freed_bytes == sum(state.size_bytes for state in states[:2])
    assert {path.name for path in workspace.patches("town").iterdir()} == {three[2], "latest.json", "split.json"}
    assert not patch(workspace, small_project("patches.stride_px=16")).changed


def test_a_patch_set_of_a_registered_model_stays_unless_forced(
    three: list[str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_on(monkeypatch, {three[0]: ["model v3 @champion was trained on it"]}, {})
    assert [state.id for state in prune(workspace, "town").removed] == [three[1]]
    forced = prune(workspace, "town", force=True)
    assert [state.id for state in forced.removed] == [three[0]]
    assert f"removing patch set {three[0]} although model v3 @champion was trained on it" in capsys.readouterr().err


def test_a_patch_set_that_a_training_reads_stays_even_when_forced(
    three: list[str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on(monkeypatch, {}, {three[1]: ["run abc is working on it"]})
    assert [state.id for state in prune(workspace, "town", force=True).removed] == [three[0]]


def test_an_unfinished_patch_set_stays_until_it_is_a_day_old(town: str, workspace: Workspace) -> None:
    patch(workspace, step="plan")
    part = patch(workspace, step="extract", scenes=["east"])
    (state,) = patch_set_states(workspace, "town")
    assert state.description is None
    assert "unfinished" in state.needed[0]
    assert prune(workspace, "town").removed == []
    old = time.time() - 2 * 86400
    for path in (state.folder, *state.folder.rglob("*")):
        os.utime(path, (old, old))
    assert [state.id for state in prune(workspace, "town").removed] == [part.patch_set]


def test_what_a_killed_prune_left_is_removed(three: list[str], workspace: Workspace) -> None:
    workspace.patch_set("town", three[0]).replace(workspace.patches("town") / f".tmp-01234567-{three[0]}")
    assert [state.id for state in patch_set_states(workspace, "town")] == three[1:]
    prune(workspace, "town")
    assert not any(path.name.startswith(".tmp-") for path in workspace.patches("town").iterdir())


def test_a_patch_set_being_made_is_not_removed(
    three: list[str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from satseg.errors import LockHeldError

    monkeypatch.setattr(housekeeping, "LOCK_TIMEOUT_S", 0.1)
    with (
        exclusive(workspace.lock(f"patch-set-{three[0]}"), "the test"),
        pytest.raises(LockHeldError, match=three[0]),
    ):
        prune(workspace, "town")
    assert workspace.patch_set("town", three[0]).exists()


def test_a_patch_set_being_made_again_is_not_removed(three: list[str], workspace: Workspace) -> None:
    folder = workspace.patch_set("town", three[0])
    (folder / "parts" / "north").mkdir(parents=True)
    with exclusive(folder / "parts" / "east" / LOCK_FILE, "the test"):
        for force in (False, True):
            kept = {state.id: state.needed for state in prune(workspace, "town", force).kept}
            assert "extracted" in kept[three[0]][-1] if force else "unfinished" in kept[three[0]][-1]
    assert (folder / "patchset.json").exists()
    assert [state.id for state in prune(workspace, "town", force=True).removed] == [three[0]]


def test_an_unfinished_patch_set_is_removed_at_once_when_forced(town: str, workspace: Workspace) -> None:
    patch(workspace, step="plan")
    part = patch(workspace, step="extract", scenes=["east"])
    assert [state.id for state in prune(workspace, "town", force=True).removed] == [part.patch_set]
    assert not workspace.patch_set("town", part.patch_set).exists()


def test_a_need_that_arises_meanwhile_is_seen(
    three: list[str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def users(workspace: Workspace, project: str) -> housekeeping.Users:
        asked.append(1)
        running = {three[0]: ["run abc is working on it"]} if len(asked) > 1 else {}
        return defaultdict(list), defaultdict(list), defaultdict(list, running)

    monkeypatch.setattr(housekeeping, "_users", users)
    assert [state.id for state in prune(workspace, "town").removed] == [three[1]]


def test_listing_goes_on_while_files_come_and_go(three: list[str], workspace: Workspace) -> None:
    done = threading.Event()
    folder = workspace.patch_set("town", three[0]) / "parts"

    def churn() -> None:
        while not done.is_set():
            for number in range(200):
                (folder / f"s{number}").mkdir(parents=True, exist_ok=True)
                (folder / f"s{number}" / "x.npy").touch()
            shutil.rmtree(folder)

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(60):
            assert len(patch_set_states(workspace, "town")) == 3
    finally:
        done.set()
        worker.join()


def run_cli(workspace: Workspace, tmp_path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    import yaml

    from satseg.config.settings import settings

    (tmp_path / "town.yaml").write_text(yaml.safe_dump(small_project().model_dump(mode="json")))
    monkeypatch.setenv("SATSEG_WORKSPACE", str(workspace.root))
    settings.cache_clear()
    try:
        return main(["patch", *words, "--project", str(tmp_path / "town.yaml")])
    finally:
        settings.cache_clear()


def test_list_and_prune_from_the_shell(
    three: list[str], workspace: Workspace, tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(workspace, tmp_path, monkeypatch, "--list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["patch_sets"]
    assert [entry["patch_set"] for entry in listed] == three
    assert listed[0]["needed"] == []
    assert listed[0]["windows"]["train"] > 0
    assert run_cli(workspace, tmp_path, monkeypatch, "--prune", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"] == three[:2]
    assert told["freed_bytes"] > 0
    assert run_cli(workspace, tmp_path, monkeypatch, "--prune") == 0
    assert "Removed: none" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [(["--list", "--step", "extract"], "--step"), (["--threads", "65"], "64")])
def test_options_that_do_not_go_together_are_refused(  # noqa: PLR0917
    town: str,
    workspace: Workspace,
    tmp_path,
    monkeypatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert run_cli(workspace, tmp_path, monkeypatch, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_mlflow_tells_which_models_were_trained_on_a_patch_set(
    three: list[str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real SQLite MLflow: a registered version, and a run that is still open."""
    from satseg.tracking.connection import client
    from satseg.tracking.runs import tracked_run

    for patch_set, name in ((three[0], "registered"), (three[1], "finished")):
        tags = {"satseg.patch_set": patch_set}
        with tracked_run(workspace, "town", name=name, tags=tags, params={}) as run:
            if name == "registered":
                registered = run.id
    with client(workspace) as mlflow_client:
        mlflow_client.create_registered_model("town")
        mlflow_client.create_model_version("town", "file:///nowhere", run_id=registered)
    needed = {state.id: state.needed for state in patch_set_states(workspace, "town")}
    assert needed[three[0]] == ("model v1 was trained on it",)
    assert "may be registered yet" in needed[three[1]][0]
    assert prune(workspace, "town").removed == []
    monkeypatch.setattr(housekeeping, "IDLE_HOURS", 0.0)
    with tracked_run(workspace, "town", name="open", tags={"satseg.patch_set": three[1]}, params={}) as run:
        needed = {state.id: state.needed for state in patch_set_states(workspace, "town")}
        assert needed[three[1]] == (f"run {run.id[:12]} is working on it",)
    assert [state.id for state in prune(workspace, "town").removed] == [three[1]]
