"""Lines on stderr that tell how far the work on one large scene is; a bar over the scenes may stand beside them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from satseg.progress import LOG_LINE_EVERY_S, Advance, say


def paced(what: str, total: float) -> Advance:
    """Return a function to call with the work done; it says a line every few seconds."""
    done, last = 0.0, time.monotonic()

    def advance(amount: float = 1) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= LOG_LINE_EVERY_S:
            last = now
            say(f"{what}: {100 * done / max(total, 1):.0f}%")

    return advance


@contextmanager
def growing(what: str, folder: Path) -> Iterator[None]:
    """Say every few seconds how much a library has written into `folder` that tells nobody how far it is."""
    start, over = time.monotonic(), threading.Event()

    def watch() -> None:
        while not over.wait(LOG_LINE_EVERY_S):
            written = sum(_size(path) for path in folder.iterdir())
            say(f"{what}: {written / 1e6:.0f} MB written, {time.monotonic() - start:.0f} s")

    watcher = threading.Thread(target=watch, name="watch-growth", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was listed
        return 0
