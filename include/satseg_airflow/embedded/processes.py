"""Starting and surely stopping the processes of an embedded Airflow."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from satseg.storage import leash
from satseg_airflow.embedded.environment import MARK, ROOT

POLL_S = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process() is None


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


def stop(components: Sequence[Started], folder: Path, patience_s: float = 20.0) -> None:
    """Stop components and everything they started; returns when no process of this Airflow is left.

    In the reverse order of their start, so that the API server outlives the tasks that report to it. Running
    stages are asked to end as well, otherwise the scheduler would wait for them; what has not ended within
    `patience_s` is killed. Signals to this process wait until it is done.
    """
    with uninterrupted():
        deadline = time.monotonic() + patience_s
        for component in reversed(components):
            if (process := component.process()) is not None:
                _terminate([process])
                _terminate(filter(is_stage, marked(folder)))
                _wait(component.ended, deadline - time.monotonic())
        _sweep(folder)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP during the block (in the main thread, where signals arrive)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sweep(folder: Path) -> None:
    """End what carries the mark of this Airflow, wherever it hangs in the process tree."""
    if _wait(lambda: not marked(folder), 1.0):
        return
    _terminate(marked(folder))
    if _wait(lambda: not marked(folder), 3.0):
        return
    for process in marked(folder):
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(lambda: not marked(folder), 10.0)


def _terminate(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()


def _wait(ended: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        reap()
        if ended():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def reap() -> None:
    """Collect ended components, so that they do not stay as zombies."""
    _children[:] = [child for child in _children if child.poll() is None]
