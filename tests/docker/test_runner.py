"""Single stages in containers: exit codes, limits, what a stage sees, and what is left when a worker dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from docker_tests import docker
from stage_worker import TASK, run

from docker import APIClient
from satseg.config.settings import settings
from satseg.errors import SatsegError
from satseg_airflow.containers.labels import WORKSPACE
from satseg_airflow.containers.orphans import labelled, remove_orphans
from satseg_airflow.runners import TaskKey

LONG = ("demo-scenes", "{workspace}/made", "--count", "900", "--size", "1024")
WITHIN_S = 120.0


@pytest.fixture
def ours(engine: APIClient, stage_workspace: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return a function that lists the containers of this test's workspace; none of them stays."""

    def find() -> list[dict[str, Any]]:
        return labelled(engine, {WORKSPACE: str(stage_workspace)})

    yield find
    for container in find():
        engine.remove_container(container["Id"], force=True)


def wait_for(what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def worker(workspace: Path) -> subprocess.Popen[str]:
    words = [word.format(workspace=workspace) for word in LONG]
    script = Path(__file__).with_name("stage_worker.py")
    return subprocess.Popen([sys.executable, str(script), "ingest", *words], stdout=subprocess.PIPE, text=True)


def guard_of(process: psutil.Process) -> psutil.Process:
    return next(child for child in process.children() if "satseg_airflow.containers.guard" in child.cmdline())


def test_stage_ends_with_its_exit_code_and_its_result_is_where_it_was_told(stage_workspace: Path, ours) -> None:
    result = stage_workspace / "result.json"
    end, lines = run("scenes", "datasets", "scenes", "--project", "buildings", "--result", str(result))
    assert end.code == 0
    assert json.loads(result.read_text())["scenes"] == []
    assert "buildings has no dataset version yet." in lines
    end, lines = run("patch", "patch", "--project", "buildings")
    assert end.code == 2
    assert any(line.startswith("error:") for line in lines)
    assert ours() == []
    assert sorted(path.name for path in (stage_workspace / "scratch").iterdir()) == [
        "patch-manual__1",
        "scenes-manual__1",
    ]


def test_container_has_the_limits_and_no_privileges_and_sees_no_secrets_of_airflow(
    engine: APIClient, stage_workspace: Path, ours, monkeypatch
) -> None:
    (stage_workspace / "airflow").mkdir()
    (stage_workspace / "airflow" / "secrets.json").write_text("{}")
    monkeypatch.setenv("SATSEG_DOCKER_STAGES", '{"ingest": {"memory": "2g", "cpus": 1.5}}')
    process = worker(stage_workspace)
    try:
        container = wait_for(ours)[0]
        about = engine.inspect_container(container["Id"])
        limits = about["HostConfig"]
        assert (limits["Memory"], limits["MemorySwap"], limits["NanoCpus"]) == (2 * 2**30, 2 * 2**30, 1_500_000_000)
        assert (limits["CapDrop"], limits["SecurityOpt"], limits["Init"]) == (["ALL"], ["no-new-privileges"], True)
        assert about["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
        wait_for(lambda: engine.inspect_container(container["Id"])["State"]["Running"])
        assert docker("exec", container["Id"], "ls", "-A", str(stage_workspace / "airflow")) == ""
    finally:
        process.kill()
        process.wait()


def test_stage_that_meets_its_memory_limit_says_what_to_lower(stage_workspace: Path, ours, monkeypatch) -> None:
    monkeypatch.setenv("SATSEG_DOCKER_STAGES", '{"train": {"memory": "150m"}}')
    settings.cache_clear()
    end, _ = run("train", "demo-scenes", str(stage_workspace / "made"), "--count", "1", "--size", "4096")
    assert end.code == 128 + signal.SIGKILL
    assert "150 MiB" in str(end.out_of_memory)
    assert "lower training.batch_size" in str(end.out_of_memory)
    assert ours() == []


def test_image_that_is_not_there_is_named(stage_workspace: Path, ours, monkeypatch) -> None:
    monkeypatch.setenv("SATSEG_DOCKER_IMAGE", "satseg-test/none:1")
    settings.cache_clear()
    with pytest.raises(SatsegError, match=r"satseg-test/none:1 is not on the Docker engine.*make images"):
        run("scenes", "--version")
    assert ours() == []


def test_container_goes_with_its_worker_even_by_kill_9(stage_workspace: Path, ours) -> None:
    process = worker(stage_workspace)
    wait_for(lambda: any(one["State"] == "running" for one in ours()))
    process.kill()
    process.wait()
    wait_for(lambda: not ours())
    wait_for(lambda: list((stage_workspace / "scratch").iterdir()) == [])


def test_next_stage_clears_what_a_lost_machine_left_and_leaves_living_ones_alone(stage_workspace: Path, ours) -> None:
    process = worker(stage_workspace)
    wait_for(lambda: any(one["State"] == "running" for one in ours()))
    guard = guard_of(psutil.Process(process.pid))
    other = TaskKey("tiny.scene_ingestion", "manual__2", "ingest", -1)
    _, lines = run("scenes", "--version", task=other)  # of another task: the living one is none of its business
    assert len(ours()) == 1
    guard.kill()
    process.kill()
    process.wait()
    time.sleep(3)
    assert len(ours()) == 1  # nobody was there to remove it
    _, lines = run("scenes", "--version", task=replace(other, run_id="manual__3"))
    assert any("left behind by tiny.model_training.train of run manual__1" in line for line in lines)
    assert ours() == []


def test_retry_removes_the_container_of_the_try_before_it(engine: APIClient, stage_workspace: Path, ours) -> None:
    process = worker(stage_workspace)
    wait_for(lambda: any(one["State"] == "running" for one in ours()))
    said: list[str] = []
    assert remove_orphans(engine, settings(), said.append) == 0
    assert remove_orphans(engine, settings(), said.append, starting=TASK) == 1
    assert ours() == []
    assert process.wait(WITHIN_S) != 0


def test_runner_works_from_the_airflow_image_and_files_belong_to_its_user(
    engine: APIClient, images: dict[str, str], address: str, stage_workspace: Path
) -> None:
    socket = address.removeprefix("unix://")
    os.chown(stage_workspace, 10001, 10001)
    code = """
import sys; sys.path.insert(0, "/tests"); from stage_worker import run
end, lines = run("ingest", "demo-scenes", "/workspace/made", "--count", "1", "--size", "256")
print(end, *lines[-5:], sep="\\n")
assert end.code == 0
"""
    flags = [
        *("--rm", "--network", "none", "--group-add", str(Path(socket).stat().st_gid)),
        *("--volume", f"{socket}:/var/run/docker.sock", "--volume", f"{stage_workspace}:/workspace"),
        *("--volume", f"{Path(__file__).parent}:/tests:ro"),
        *("--env", f"SATSEG_DOCKER_WORKSPACE={stage_workspace}", "--env", "SATSEG_DOCKER_NETWORK=none"),
    ]
    docker("run", *flags, "--entrypoint", "python", images["airflow"], "-c", code)
    made = [path for path in stage_workspace.rglob("*") if path.is_file()]
    assert any(path.suffix == ".tif" for path in made)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(10001, 10001)}
