"""Try a packaged model as a server would use it: MLflow's files alone, in a process and environment of its own."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from satseg.config.settings import settings
from satseg.errors import BadDataError, TemporaryError

CHILD = Path(__file__).with_name("probe_child.py")
WITHIN_S = 900.0
OURS = ("SATSEG_", "TF_", "SM_", "KERAS", "PYTHON", "MLFLOW_")  # what a server's environment does not have


@dataclass(frozen=True)
class Probe:
    """What the serving environment made of the model.

    Attributes:
        probabilities: (N, H, W, K) float32.
        load_s: Seconds from MLflow's call to a loaded model.
        latency_s: Median seconds for one window.
        memory_mib: Largest resident set of the process.
        python: Version of the serving environment's Python.
    """

    probabilities: NDArray[np.float32]
    load_s: float
    latency_s: float
    memory_mib: float
    python: str


def serving_python() -> str:
    """Return the interpreter of the serving environment."""
    return str(settings().serving_python or sys.executable)


def probe_packaged(model: Path, images: NDArray[np.generic]) -> Probe:
    """Load the MLflow model of a folder in a clean process of the serving environment and predict images with it.

    Args:
        model: folder with the file MLmodel.
        images: (N, H, W, C) raw pixels.

    Raises:
        BadDataError: it does not load, does not predict, or needs satseg for it; the message holds the last words.
        TemporaryError: the process was told to stop.
    """
    with TemporaryDirectory(prefix="satseg-probe-") as folder:
        given = Path(folder) / "images.npy"
        np.save(given, images)
        # -I: neither this folder nor PYTHONPATH nor the user's packages can lend the model anything
        command = [serving_python(), "-I", str(CHILD), str(model), str(given), folder]
        _run(command, Path(folder))
        found = json.loads((Path(folder) / "probe.json").read_text(encoding="utf-8"))
        if found.pop("foreign"):
            raise BadDataError("the packaged model imports satseg, which a server does not have")
        return Probe(np.load(Path(folder) / "probabilities.npy"), **found)


def _run(command: list[str], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment | quiet, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BadDataError(f"the packaged model did not answer within {WITHIN_S:.0f} s") from error
    except OSError as error:
        raise BadDataError(f"the serving environment cannot be started: {error} (SATSEG_SERVING_PYTHON)") from error
    if done.returncode == -signal.SIGTERM:
        raise TemporaryError("The process that tried the packaged model was told to stop. Run this again.")
    if done.returncode < 0:
        raise BadDataError(f"the packaged model's process was killed by signal {-done.returncode}; out of memory?")
    if done.returncode:
        raise BadDataError(_last_words(done.stderr))


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "the packaged model's process ended without a word"
