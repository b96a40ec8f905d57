"""The trials of a search as processes of their own, as many at once as there are devices."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from satseg.config.settings import settings
from satseg.errors import ConfigurationError, ExitCode
from satseg.progress import progress_bar, say
from satseg.storage import leash
from satseg.storage.devices import devices
from satseg.storage.layout import Workspace
from satseg.training.search_folder import PlannedSearch, SearchFolder

MOST_TRIES = 3
STOP_GRACE_S = 30.0
POLL_S = 0.2


@dataclass
class _Trial:
    place: int
    tries: int = 0
    process: "subprocess.Popen[bytes] | None" = field(default=None)


def run_trials(workspace: Workspace, search: PlannedSearch) -> None:
    """Run every trial to its end; a killed one is run again and goes on where it stopped, three times at most.

    Raises:
        ConfigurationError: a trial was refused for a reason that holds for all.
    """
    waiting = [_Trial(place) for place in range(search.trials)]
    running: list[_Trial] = []
    slots = at_once(search)
    project_file = SearchFolder(workspace, search.project.name, search.study).project_file
    try:
        with progress_bar(f"study {search.study}", search.trials) as advance:
            while waiting or running:
                while waiting and len(running) < slots:
                    trial = waiting.pop(0)
                    trial.tries += 1
                    trial.process = _start(workspace, project_file, search.study, trial.place)
                    running.append(trial)
                for trial in [trial for trial in running if _ended(trial)]:
                    running.remove(trial)
                    if _again(trial):
                        waiting.insert(0, trial)
                    else:
                        advance()
                time.sleep(POLL_S)
    finally:
        _stop(running)


def at_once(search: PlannedSearch) -> int:
    """Return how many trials fit on this machine's devices side by side."""
    if settings().lease is not None:  # the lease of this process is all there is
        return 1
    return max(1, len(devices()) // search.project.training.gpus)


def _start(workspace: Workspace, project_file: Path, study: str, place: int) -> "subprocess.Popen[bytes]":
    words = ["tune", "--step", "trial", "--study", study, "--trial", str(place), "--project", str(project_file)]
    tied = [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid())]
    return subprocess.Popen(
        [*tied, sys.executable, "-m", "satseg", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"SATSEG_WORKSPACE": str(workspace.root)},
    )


def _ended(trial: _Trial) -> bool:
    return trial.process is not None and trial.process.poll() is not None


def _again(trial: _Trial) -> bool:
    """Whether to run a trial again.

    Raises:
        ConfigurationError: it was refused.
    """
    assert trial.process is not None
    code = trial.process.returncode
    if code == ExitCode.DONE:
        return False
    if code in {ExitCode.USAGE, ExitCode.BAD_DATA}:
        raise ConfigurationError(f"Trial {trial.place} ended with exit code {code}; the reason stands above.")
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if trial.tries >= MOST_TRIES:
        say(f"trial {trial.place} {how} for the {trial.tries}rd time: it is left out.")
        return False
    say(f"trial {trial.place} {how}: it is run again and goes on where it stopped.")
    return True


def _stop(running: list[_Trial]) -> None:
    processes = [trial.process for trial in running if trial.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
