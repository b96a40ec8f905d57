"""Where a stage runs: one protocol, one class per place, chosen by `SATSEG_RUNNER`."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from satseg.storage import leash
from satseg.storage.leases import Lease

# Airflow gives a task 5 s between SIGTERM and SIGKILL: the stage must be gone before
STOP_GRACE_S = 3.0
LAST_WORDS_S = 2.0
POLL_S = 0.05
DAG_RUN_VARIABLE = "SATSEG_DAG_RUN"


class Place(StrEnum):
    """The places a stage can run at."""

    SUBPROCESS = "subprocess"
    DOCKER = "docker"


@dataclass(frozen=True)
class TaskKey:
    """The task instance a stage runs for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def environment(self) -> dict[str, str]:
        """Return what tells a stage for which DAG run it works."""
        return {DAG_RUN_VARIABLE: f"{self.dag_id}/{self.run_id}"}


@dataclass(frozen=True)
class Job:
    """One run of a stage.

    Attributes:
        stage: Its name.
        words: Arguments of the program `satseg`.
        scratch: Folder for its temporary files; the caller removes it, also after a kill.
        task: Who wants it.
        lease: The devices it may work on.
    """

    stage: str
    words: list[str]
    scratch: Path
    task: TaskKey
    lease: Lease | None = None


@dataclass(frozen=True)
class End:
    """How a stage ended: its exit code (-N: signal N), and what to change when it met its memory limit."""

    code: int
    out_of_memory: str | None = None


class Runner(Protocol):
    """Runs one stage to its end."""

    def run(self, job: Job, on_line: Callable[[str], None]) -> End:
        """Run the stage; `on_line` gets every line of its output."""
        ...

    def stop(self) -> None:
        """End the stage and everything it started; returns when nothing is left. Safe to call at any time."""
        ...


def runner_for(place: str) -> Runner:
    """Return the runner of a place."""
    match Place(place):
        case Place.SUBPROCESS:
            return SubprocessRunner()
        case Place.DOCKER:
            from satseg_airflow.containers.runner import DockerRunner

            return DockerRunner()


class SubprocessRunner:
    """Runs the stage on this machine in a session of its own, tied to the life of this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, job: Job, on_line: Callable[[str], None]) -> End:
        """See `Runner.run`."""
        tie = [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid())]
        self._process = process = subprocess.Popen(
            [*tie, sys.executable, "-m", "satseg", *job.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env=stage_environment()
            | job.task.environment()
            | {"TMPDIR": str(job.scratch)}
            | (job.lease.environment() if job.lease else {}),
        )
        reader = threading.Thread(target=_forward, args=(process, on_line), daemon=True)
        reader.start()
        try:
            # poll, not wait: `stop` may run in a signal handler on this very thread and must not meet a held lock
            while (code := process.poll()) is None:
                time.sleep(POLL_S)
            reader.join(LAST_WORDS_S)  # a grandchild may still hold the pipe
        finally:
            self.stop()
        return End(code)

    def stop(self) -> None:
        """See `Runner.stop`."""
        process = self._process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _group_ended(process) or not _signal_group(process.pid, number):
                return
            deadline = time.monotonic() + STOP_GRACE_S
            while not _group_ended(process) and time.monotonic() < deadline:
                time.sleep(POLL_S)


def stage_environment() -> dict[str, str]:
    """Return this process's environment without Airflow's settings (they hold secrets), output unbuffered."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW__", "_AIRFLOW"))}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _forward(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed under us when the task ends first
        for line in process.stdout:
            if text := line.rstrip():
                on_line(text)


def _group_ended(process: subprocess.Popen[str]) -> bool:
    process.poll()  # a zombie leader would count as alive
    return not _signal_group(process.pid, 0)


def _signal_group(leader: int, number: int) -> bool:
    """Send a signal to a process group; False when nothing of it is left."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True
