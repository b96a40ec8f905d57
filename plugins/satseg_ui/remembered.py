"""What was read from a file is remembered as long as the file stays the same."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import TypeVar

T = TypeVar("T")
KEPT = 20_000  # rows of lists, a few hundred bytes each


def remembered_by_file(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Return a reader that reads a file again only when its size, time of change or inode is another.

    Raises:
        OSError: the file cannot be read.
    """
    known: OrderedDict[Path, tuple[tuple[int, int, int], T]] = OrderedDict()
    lock = Lock()

    @wraps(read)
    def reading(path: Path) -> T:
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns, status.st_ino)
        with lock:
            entry = known.get(path)
        if entry is not None and entry[0] == mark:
            return entry[1]
        value = read(path)
        with lock:
            known[path] = (mark, value)
            known.move_to_end(path)
            while len(known) > KEPT:
                known.popitem(last=False)
        return value

    return reading
