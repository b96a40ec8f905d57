"""Starting and surely stopping the processes of an embedded Airflow."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from satseg_airflow import leash
from satseg_airflow.embedded.environment import MARK, ROOT

POLL_S = 0.1
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Started:
    """A process this software started; the time of creation tells it from a later one with the same number."""

    name: str
    pid: int
    created: float

    def process(self) -> psutil.Process | None:
        """Return the process if it still lives."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def start(name: str, command: Sequence[str], environment: dict[str, str], log: Path, tied: bool) -> Started:
    """Start a component in a session of its own, its output appended to `log`.

    Args:
        name: Of the component.
        command: The program's full path and its arguments.
        environment: The whole environment.
        log: File for stdout and stderr.
        tied: Whether it gets SIGTERM when this process dies, however it dies.
    """
    tie = [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid())] if tied else []
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*tie, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    return Started(name, child.pid, psutil.Process(child.pid).create_time())


def marked(folder: Path) -> list[psutil.Process]:
    """Return every living process that belongs to the Airflow in `folder`, wherever it hangs in the process tree."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(folder):
                found.append(process)
    return found


def is_stage(process: psutil.Process) -> bool:
    """Whether a process is the leader of a running stage (`python -m satseg …`)."""
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        return "-m" in command and command[command.index("-m") + 1 : command.index("-m") + 2] == ["satseg"]
    return False


def stop(components: Iterable[Started], folder: Path, patience_s: float = 20.0) -> None:
    """Stop components and everything they started; returns when no process of this Airflow is left.

    Asks the components to end, and the running stages (otherwise the scheduler would wait for them), and kills
    what has not ended within `patience_s`.
    """
    _terminate(filter(None, (component.process() for component in components)))
    time.sleep(POLL_S)
    _terminate(filter(is_stage, marked(folder)))
    if _wait_for_none(folder, patience_s):
        return
    _terminate(marked(folder))
    if _wait_for_none(folder, 3.0):
        return
    for process in marked(folder):
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait_for_none(folder, 10.0)


def _terminate(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()


def _wait_for_none(folder: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reap()
        if not marked(folder):
            return True
        time.sleep(POLL_S)
    return False


def reap() -> None:
    """Collect ended components, so that they do not stay as zombies."""
    _children[:] = [child for child in _children if child.poll() is None]
