"""Trying again while MLflow does not answer: a restart of the server must not cost a training."""

import time
from collections.abc import Callable
from typing import TypeVar

from satseg.config.settings import settings
from satseg.errors import InterruptedRunError, TemporaryError
from satseg.progress import say

T = TypeVar("T")
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_FULL = "is full"  # SQLite's words; waiting frees no space


def patiently(call: Callable[[], T], patience_s: float | None = None) -> T:
    """Call until MLflow answers, with pauses that double up to half a minute.

    Args:
        call: May be called again after a TemporaryError.
        patience_s: For how long; default: SATSEG_MLFLOW_PATIENCE_MINUTES.

    Raises:
        TemporaryError: the last try's error, once the time is over.
    """
    patience = 60.0 * settings().mlflow_patience_minutes if patience_s is None else patience_s
    deadline, pause = time.monotonic() + patience, FIRST_PAUSE_S
    while True:
        try:
            return call()
        except InterruptedRunError:
            raise
        except TemporaryError as error:
            if time.monotonic() + pause > deadline or _FULL in str(error):
                raise
            say(f"{error} Trying again in {pause:.0f} s.")
        time.sleep(pause)
        pause = min(2.0 * pause, LONGEST_PAUSE_S)
