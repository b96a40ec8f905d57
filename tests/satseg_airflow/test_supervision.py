"""A task whose supervisor is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from satseg.storage.devices import Device
from satseg.storage.layout import Workspace
from satseg.storage.leases import leased
from satseg_airflow.supervision import supervised

# the supervisor, which forks the task as Airflow's does and is killed with -9 by the kernel or by the test
SUPERVISOR = """
import os, sys, time
from pathlib import Path
from satseg_airflow.supervision import supervised

folder = Path(sys.argv[1])
if os.fork() == 0:
    with supervised((folder / "stopped").touch):
        (folder / "runs").write_text(str(os.getpid()))
        deadline = time.monotonic() + 60
        while not (folder / "stopped").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    (folder / "ended").touch()
    os._exit(0)
(folder / "supervises").touch()
time.sleep(60)
"""

# the same around a stage operator whose device is taken; `sys.argv[1]` is the workspace
WAITING = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from satseg_airflow import supervision
from satseg_airflow.operators.stage import StageOperator

folder = Path(sys.argv[1])
supervision.LEAVE_WITHIN_S = 0.5
ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
operator = StageOperator(task_id="train", stage="train", project="tiny")
if os.fork() == 0:
    (folder / "runs").write_text(str(os.getpid()))
    operator.execute({"ti": ti})
    os._exit(0)
(folder / "supervises").touch()
time.sleep(120)
"""


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never appeared"
        time.sleep(0.05)


def test_a_task_whose_supervisor_is_killed_ends_its_stage(tmp_path: Path) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)])
    try:
        for name in ("supervises", "runs"):
            wait_for(tmp_path / name)
        time.sleep(2.5)
        assert not (tmp_path / "stopped").exists()
    finally:
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    wait_for(tmp_path / "ended")
    assert (tmp_path / "stopped").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_that_ends_by_itself_is_not_stopped_afterwards_nor_watched(fails: bool) -> None:
    stopped: list[str] = []
    with contextlib.suppress(RuntimeError), supervised(lambda: stopped.append("")):
        watchers = [thread for thread in threading.enumerate() if thread.name == "supervision"]
        if fails:
            raise RuntimeError("the stage failed")
    for thread in watchers:
        thread.join(5)
    assert (len(watchers), [thread.is_alive() for thread in watchers], stopped) == (1, [False], [])


@pytest.mark.slow
def test_a_task_that_waits_for_a_device_ends_with_its_supervisor_and_starts_nothing(workspace: Path) -> None:
    workspace.mkdir()
    environment = os.environ | {"SATSEG_GPU_COUNT": "1", "SATSEG_RUNNER": "subprocess"}
    with leased(Workspace(workspace), [Device("gpu", "0")]):
        supervisor = subprocess.Popen([sys.executable, "-c", WAITING, str(workspace)], env=environment)
        try:
            for name in ("supervises", "runs"):
                wait_for(workspace / name)
            time.sleep(3)
            task = psutil.Process(int((workspace / "runs").read_text()))
        finally:
            supervisor.send_signal(signal.SIGKILL)
            supervisor.wait()
        deadline = time.monotonic() + 30
        while task.is_running() and task.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "it still waits"
            time.sleep(0.1)
