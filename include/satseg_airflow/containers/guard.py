"""`python -m satseg_airflow.containers.guard URL SCRATCH`: remove a stage's container when its worker dies.

A worker that is killed with -9 cannot remove the container it watches. This process, in a session of its own, reads
a pipe from the worker: "done" means that nothing is left to do, the end of the pipe that the worker is gone.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from satseg_airflow.embedded.mark import MARK

DONE = "done"
LOOKS, BETWEEN_LOOKS_S = 3, 2.0  # the engine may have been making the container when its worker died
STOP_GRACE_S = 3


@contextmanager
def guarded(url: str, scratch: Path) -> Iterator[None]:
    """Have the containers of a stage removed if this process dies before the end of the block."""
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, url, str(scratch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        # neither a signal to the worker's group nor the end of an embedded Airflow may end it before its worker
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != MARK},
    )
    assert guard.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.write(DONE)
            guard.stdin.close()
        guard.wait()


def main(url: str, scratch: Path) -> None:
    """Wait for the worker, and clear up behind it when it could not say that it did."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.read() == DONE:
        return
    from satseg_airflow.containers.engine import connected
    from satseg_airflow.containers.labels import SCRATCH
    from satseg_airflow.containers.orphans import labelled, remove

    with connected(url) as engine:
        for look in range(LOOKS):
            time.sleep(BETWEEN_LOOKS_S if look else 0)
            for container in labelled(engine, {SCRATCH: scratch.name}):
                with contextlib.suppress(Exception):  # it may have ended by itself
                    engine.stop(container["Id"], timeout=STOP_GRACE_S)  # a training saves what it has
                remove(engine, container["Id"])
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
