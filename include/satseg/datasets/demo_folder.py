"""The folder that demo scenes are written to: never mixed with other files, never overwritten unasked."""

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from satseg.errors import ConfigurationError, LockHeldError
from satseg.storage.atomic import TEMP_PREFIX, remove_stale_temps, replacing_file

_CHUNK_BYTES = 1 << 20


class OutFolder:
    """A folder being filled; get one from `out_folder`."""

    def __init__(self, path: Path, force: bool) -> None:
        self.path = path
        self._force = force

    def write(self, name: str, make: Callable[[Path], None]) -> None:
        """Let `make` write a file whole or not at all; an existing file must be the same, or `--force` given.

        Raises:
            ConfigurationError: another file of this name is there.
        """
        target = self.path / name
        with replacing_file(target) as temp:
            make(temp)
            if target.exists() and not self._force and not _same(temp, target):
                raise ConfigurationError(
                    f"{target} exists and holds something else than these options make. "
                    "Give another folder, or --force to replace it."
                )

    def withdraw(self, name: str) -> None:
        """Remove a label file that `--force` lets be replaced: a kill must not leave it beside a new picture."""
        if self._force:
            (self.path / name).unlink(missing_ok=True)

    def first_existing(self, names: list[str]) -> list[int]:
        """Return the indices of names, those that exist first: a difference shows before anything is written."""
        return sorted(range(len(names)), key=lambda i: (not (self.path / names[i]).exists(), i))


@contextmanager
def out_folder(path: Path, expected: Collection[str], force: bool) -> Iterator[OutFolder]:
    """Create or open a folder for these file names (relative paths) and keep other processes out of it.

    Raises:
        ConfigurationError: it is no folder, or holds other files and `force` is not given.
        LockHeldError: another process is filling it.
    """
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"{path} is a file. Give a folder for the scenes.")
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)  # a lock on the folder itself leaves no lock file among the scenes
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(f"Another process is writing scenes to {path}. Wait for it to end.") from error
        if not force:
            _refuse_strangers(path, expected)
        for folder in {path, *((path / name).parent for name in expected)}:
            remove_stale_temps(folder)
        yield OutFolder(path, force)
    finally:
        os.close(descriptor)


def _refuse_strangers(path: Path, expected: Collection[str]) -> None:
    there = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    strangers = [name for name in there if name not in expected and not Path(name).name.startswith(TEMP_PREFIX)]
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise ConfigurationError(
            f"{path} is not empty: it holds {', '.join(strangers[:3])}{more}. "
            "Give an empty or new folder, or --force to write among these files."
        )


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(_CHUNK_BYTES):
            if chunk != second.read(_CHUNK_BYTES):
                return False
    return True
