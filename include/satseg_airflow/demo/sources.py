"""The scenes of the demo, made by `satseg demo-scenes`."""

import subprocess
import sys

from satseg_airflow.demo.errors import DemoFailedError
from satseg_airflow.demo.plan import Arrival


def make_scenes(arrival: Arrival, environment: dict[str, str]) -> None:
    """Make the scenes of an arrival, unless they are there already.

    Raises:
        DemoFailedError: the command failed; the message holds what it said.
    """
    if not arrival.make:
        return
    done = subprocess.run(
        [sys.executable, "-m", "satseg", "demo-scenes", str(arrival.folder), *arrival.make],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailedError(f"`satseg demo-scenes` ended with exit code {done.returncode}:\n{done.stderr.strip()}")
