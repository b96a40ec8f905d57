"""Files appear whole or not at all: write to a temp name beside the target, flush to disk, rename."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from satseg.errors import LockHeldError

TEMP_PREFIX = ".tmp-"


def _temp_beside(target: Path) -> Path:
    # the suffix is kept because GDAL, NumPy and Pillow choose the format by it
    return target.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Yield a temp path beside `target`; when the block ends well it becomes `target`, otherwise it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = _temp_beside(target)
    try:
        yield temp
        _sync(temp)
        temp.replace(target)
    finally:
        temp.unlink(missing_ok=True)


@contextmanager
def replacing_directory(target: Path) -> Iterator[Path]:
    """Yield a new temp folder beside `target`; when the block ends well it replaces `target` (which may exist)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = _temp_beside(target)
    temp.mkdir()
    try:
        yield temp
        if target.exists():
            old = _temp_beside(target)
            target.replace(old)
            temp.replace(target)
            shutil.rmtree(old)
        else:
            temp.replace(target)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing_file(target) as temp:
        temp.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically: two spaces, sorted keys, so that equal values give equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def remove_stale_temps(folder: Path, target_name: str | None = None) -> None:
    """Remove temp files and folders directly in `folder` that a killed process left. Call it holding the lock.

    With `target_name` only those of that target, where others work on other targets in the same folder.
    """
    if not folder.is_dir():
        return
    for path in folder.glob(f"{TEMP_PREFIX}*" if target_name is None else f"{TEMP_PREFIX}????????-{target_name}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def exclusive(lock_file: Path, what: str, timeout_s: float = 600.0) -> Iterator[None]:
    """Hold an operating-system lock on `lock_file`; it ends with the process, also with `kill -9`.

    Raises:
        LockHeldError: another process held it for longer than `timeout_s`.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout as error:
        raise LockHeldError(
            f"{what} is being worked on by another process (lock {lock_file}, waited {timeout_s:.0f} s). "
            "Wait for it to end, then run this again."
        ) from error
    try:
        yield
    finally:
        lock.release()
