"""Progress for people, always on stderr: bars on a terminal, plain lines in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
LOG_LINE_EVERY_S = 5.0


class Advance(Protocol):
    """Called with the amount of work just done."""

    def __call__(self, amount: float = 1) -> None:
        """Advance by `amount`."""
        ...


def say(message: str) -> None:
    """Print one line for people on stderr; a thread goes on where nobody listens any more."""
    with suppress(ValueError, BrokenPipeError):  # closed, or its reader has gone
        print(message, file=sys.stderr, flush=True)


@contextmanager
def progress_bar(what: str, total: float) -> Iterator[Advance]:
    """Show how far a long piece of work is; yields the function to call as it advances."""
    if sys.stderr.isatty():
        console = Console(file=sys.stderr)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=False) as bars:
            task = bars.add_task(what, total=total)
            yield lambda amount=1: bars.advance(task, amount)
        return
    done, start, last = 0.0, time.monotonic(), time.monotonic()

    def advance(amount: float = 1) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= LOG_LINE_EVERY_S and done < total:
            last = now
            say(f"{what}: {done:.0f}/{total:.0f} ({100 * done / max(total, 1):.0f}%), {now - start:.0f} s")

    yield advance


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items and show progress over them."""
    with progress_bar(what, total) as advance:
        for item in items:
            yield item
            advance()
