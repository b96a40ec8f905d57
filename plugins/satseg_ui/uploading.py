"""Taking a file into incoming/: its name, how much may come, and nothing left behind when it does not come whole."""

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.requests import ClientDisconnect

from satseg.config.settings import settings
from satseg.storage.atomic import TEMP_PREFIX, replacing_file
from satseg_ui.problems import Refusal, is_full
from satseg_ui.work import in_thread

SCENE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
LABEL_SUFFIXES = (".geojson", ".json", ".gpkg", ".shp")
COMPANION_SUFFIXES = (
    ".shx", ".dbf", ".prj", ".cpg", ".tfw", ".tifw", ".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw", ".xml",
    ".yaml", ".yml",
)  # fmt: skip
SUFFIXES = (*SCENE_SUFFIXES, *LABEL_SUFFIXES, *COMPANION_SUFFIXES)
# names that every file system takes and that mean the same everywhere: no separators, no look-alike letters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,119}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
SILENCE_S = 60.0  # between two pieces of a body
ABANDONED_S = 3600.0
SLOTS = 4
_PIECE_BYTES = 4 * 2**20
_under_way = 0


@dataclass(frozen=True)
class Received:
    """A file that has come whole."""

    name: str
    size: int
    sha256: str


def checked_name(name: str) -> str:
    """Return a file name that may be kept.

    Raises:
        Refusal: it could lead elsewhere, means something else to some system, or is of no kind that an ingest reads.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((" ", ".")) or _RESERVED.fullmatch(name):
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"File name {name[:150]!r} is not taken: letters A-Z, digits, space and . _ + - only, no folders, no '..', "
            "at most 120 characters, beginning with a letter or digit.",
        )
    if not name.lower().endswith(SUFFIXES):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"'{name}' is neither a scene nor a label file by its ending. These are taken: {' '.join(SUFFIXES)}",
        )
    return name


def most_bytes(name: str) -> int:
    """Return how large a file of this name may be."""
    limits = settings()
    mib = limits.upload_scene_mib if name.lower().endswith(SCENE_SUFFIXES) else limits.upload_label_mib
    return int(mib * 2**20)


def check_announced(name: str, announced: str | None, folder: Path) -> None:
    """Refuse a file by its announced length, before a byte of it is read.

    Raises:
        Refusal: it is no number, larger than allowed, or larger than the room there is.
    """
    if announced is None:
        return
    if not (announced.isascii() and announced.isdigit()):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no number.")
    if int(announced) > most_bytes(name):
        raise _too_large(name)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if int(announced) > shutil.disk_usage(there).free:
        raise _no_room(name)


@contextmanager
def slot() -> Iterator[None]:
    """Hold one of the places for uploads; used from the event loop alone.

    Raises:
        Refusal: all are taken.
    """
    global _under_way  # noqa: PLW0603 - one counter of this process
    if _under_way >= SLOTS:
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS, f"{SLOTS} uploads are under way. Try again soon.", {"Retry-After": "10"}
        )
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1


def remove_abandoned(folder: Path) -> None:
    """Remove what uploads left that ended with their server; one that is under way is never silent for so long."""
    for path in folder.glob(f"{TEMP_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


async def receive(pieces: AsyncIterator[bytes], target: Path, announced: str | None, replace: bool) -> Received:
    """Write a body to `target` as it comes; the file appears whole or not at all.

    Raises:
        Refusal: it is too large whatever it announced, shorter than announced, stops coming, finds no room, or another
            upload of the name has ended before it.
    """
    try:
        return await _received(pieces, target, announced, replace)
    except OSError as error:
        if is_full(error):
            raise _no_room(target.name) from error
        raise


async def _received(pieces: AsyncIterator[bytes], target: Path, announced: str | None, replace: bool) -> Received:
    most, digest, size = most_bytes(target.name), hashlib.sha256(), 0
    with replacing_file(target) as temp:  # a hidden name, which an ingest at this moment passes over
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            async for block in _blocks(pieces):
                size += len(block)
                if size > most:
                    raise _too_large(target.name)
                await in_thread(_write, descriptor, digest, block)
            if announced is not None and size != int(announced):
                raise _cut(f"{size} of {announced} bytes came")
            if not size:
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"'{target.name}' is empty.")
            await in_thread(os.fsync, descriptor)  # here, so that the event loop has nothing to wait for below
        finally:
            os.close(descriptor)
        if not replace:
            await in_thread(_claim, temp, target)
    return Received(target.name, size, digest.hexdigest())


def _claim(temp: Path, target: Path) -> None:
    """Let a whole file appear under its name, where none is: of two uploads the later one is refused."""
    try:
        os.link(temp, target)
    except FileExistsError as error:
        raise waits_already(target.name) from error
    except OSError as error:  # a file system without hard links
        if target.exists():
            raise waits_already(target.name) from error


def waits_already(name: str) -> Refusal:
    """Return what is said when a file of this name is there."""
    words = f"'{name}' waits in the drop zone already. Add ?replace=true to replace a file."
    return Refusal(HTTPStatus.CONFLICT, words, {"Connection": "close"})


def _no_room(name: str) -> Refusal:
    words = f"There is no room for '{name}' on the server's disk. Nothing was kept."
    return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, words, {"Connection": "close"})


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the body in large blocks, so that few hops to a thread write it."""
    waiting = bytearray()
    try:
        while True:
            async with asyncio.timeout(SILENCE_S):
                piece = await anext(pieces, None)
            if piece is None:
                break
            waiting += piece
            if len(waiting) >= _PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
    except TimeoutError as error:
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT, f"Nothing came for {SILENCE_S:g} s.", {"Connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise _cut("the connection ended before the file did") from error
    if waiting:
        yield bytes(waiting)


def _write(descriptor: int, digest: "hashlib._Hash", block: bytes) -> None:
    digest.update(block)
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _too_large(name: str) -> Refusal:
    mib = most_bytes(name) / 2**20
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"'{name}' is larger than {mib:g} MiB (SATSEG_UPLOAD_SCENE_MIB, SATSEG_UPLOAD_LABEL_MIB). Copy it into the "
        "drop zone on the server instead.",
        {"Connection": "close"},
    )


def _cut(what: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"The file did not come whole: {what}. Nothing was kept.")
