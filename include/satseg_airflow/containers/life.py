"""A worker's sign of life: a lock beside the temporary files of its stage, which ends with it, also with `kill -9`."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ALIVE = "alive.lock"


@contextmanager
def alive(scratch: Path) -> Iterator[None]:
    """Hold the lock for the length of the block."""
    descriptor = os.open(scratch / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_alive(scratch: Path) -> bool:
    """Whether the worker of a stage lives; without its temporary files it does not."""
    try:
        descriptor = os.open(scratch / ALIVE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
