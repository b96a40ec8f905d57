"""Noticing that nobody supervises this task any more.

Celery lets the kernel kill a worker's children when its main process dies, and with them Airflow's supervisor of a
task; the task itself goes on, with nobody to report to. Airflow tries it again when its heartbeats have been missing
for a while, and that try would meet a stage that still holds its lock and its device, perhaps for hours.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_EVERY_S = 1.0
LEAVE_WITHIN_S = 10.0


@contextmanager
def supervised(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop`, once and in another thread, when this process's parent ends within the context.

    Who has not left the context then (it waits for a device, or was about to start its stage when there was nothing to
    stop yet) would go on by itself for hours: this process is ended, and with it its locks.
    """
    parent, left = os.getppid(), threading.Event()

    def watch() -> None:
        while not left.wait(_LOOK_EVERY_S):
            if os.getppid() != parent:
                try:
                    stop()
                finally:
                    if not left.wait(LEAVE_WITHIN_S):
                        os._exit(128 + signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, name="supervision", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
