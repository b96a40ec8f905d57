"""Running a Typer program of this package: every outcome becomes an exit code and a readable line."""

import signal

import typer

from satseg.errors import ExitCode, SatsegError
from satseg.progress import say

INTERRUPTED = 128 + signal.SIGINT


def run_program(app: typer.Typer, stopped: str) -> int:
    """Run the program and return its exit code; `stopped` is said after Ctrl-C."""
    try:
        outcome = app(standalone_mode=False)
    except SatsegError as error:
        say(f"error: {error}")
        return int(error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        say(f"error: {error.strerror}: {error.filename or 'while writing'}. Mend the path or its permissions.")
        return int(ExitCode.USAGE)
    except Exception as error:
        if (show := getattr(error, "show", None)) is None:  # click's usage errors draw themselves
            raise
        show()
        return int(ExitCode.USAGE)
    if outcome == INTERRUPTED:
        say(stopped)
    return outcome if isinstance(outcome, int) else int(ExitCode.DONE)
