"""Writing .npy shards record by record, and putting those of several scenes together without reading them whole."""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from satseg.patches.patchset import header_bytes, image_file, mask_file
from satseg.storage.atomic import replacing_file

COPY_BYTES = 4 * 2**20
FLUSH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Kind:
    """One of the two arrays of a shard: how its files are called, and shape and type of one record."""

    file_name: Callable[[int], str]
    shape: tuple[int, ...]
    dtype: str

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def write_header(self, file: IO[bytes], count: int) -> None:
        """Write the .npy header of `count` records."""
        descr = np.lib.format.dtype_to_descr(np.dtype(self.dtype))
        header = {"descr": descr, "fortran_order": False, "shape": (count, *self.shape)}
        np.lib.format.write_array_header_1_0(file, header)


@dataclass(frozen=True)
class Record:
    """Shape and type of one patch: image (size, size, channels) in `dtype`, mask (size, size) uint8."""

    size: int
    channels: int
    dtype: str

    @property
    def kinds(self) -> tuple[Kind, Kind]:
        """Images, then masks."""
        return (
            Kind(image_file, (self.size, self.size, self.channels), self.dtype),
            Kind(mask_file, (self.size, self.size), "uint8"),
        )

    def capacity(self, shard_mib: int) -> int:
        """Return how many patches make a shard of about `shard_mib` MiB."""
        return max(1, shard_mib * 2**20 // self.kinds[0].record_bytes)


class ShardWriter:
    """Writes `total` records to files of `capacity` records each; their number must be known beforehand.

    A thread flushes to disk while the next records are written, so that little is left to flush at the end.
    """

    def __init__(self, folder: Path, prefix: str, record: Record, total: int, capacity: int) -> None:
        self._folder, self._prefix, self._record = folder, prefix, record
        self._total, self._capacity = total, capacity
        self._written = self._unflushed = 0
        self._files: list[IO[bytes]] = []
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="satseg-flush")
        self._flushing: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._flusher.shutdown()
        if error is None:
            self._wait()
            if self._written != self._total:
                raise RuntimeError(f"{self._written} patches written, {self._total} announced")

    def write(self, image: NDArray[Any], mask: NDArray[np.uint8]) -> None:
        """Append one patch."""
        if self._written % self._capacity == 0:
            self._next_file()
        for file, kind, array in zip(self._files, self._record.kinds, (image, mask), strict=True):
            if array.shape != kind.shape or array.dtype != kind.dtype:
                raise ValueError(f"a patch of {array.shape} {array.dtype} in shards of {kind.shape} {kind.dtype}")
            file.write(np.ascontiguousarray(array).data)
            self._unflushed += kind.record_bytes
        self._written += 1
        if self._unflushed >= FLUSH_BYTES:
            self._wait()  # a disk slower than the reading holds it up here, not with all memory full
            self._flushing = [self._flusher.submit(_flush, file) for file in self._files]
            self._unflushed = 0

    def _wait(self) -> None:
        for flushing in self._flushing:
            flushing.result()
        self._flushing = []

    def _next_file(self) -> None:
        self._close()
        number = self._written // self._capacity
        count = min(self._capacity, self._total - self._written)
        for kind in self._record.kinds:
            file = (self._folder / f"{self._prefix}-{kind.file_name(number)}").open("wb")
            self._files.append(file)
            kind.write_header(file, count)

    def _close(self) -> None:
        self._flushing += [self._flusher.submit(_finish, file) for file in self._files]
        self._files = []


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _finish(file: IO[bytes]) -> None:
    with file:
        _flush(file)


@dataclass(frozen=True)
class Segment:
    """Some records of one part file: `count` of them from `start`; `position` is the first one's place in its scene."""

    scene: str
    file: int
    start: int
    count: int
    position: int


Shard = tuple[Segment, ...]


def arrange(counts: dict[str, int], capacity: int) -> list[Shard]:
    """Put the scenes' records into shards of at most `capacity`: full files as they are, then the rests together."""
    shards: list[Shard] = []
    rests: list[Segment] = []
    for scene, count in counts.items():
        full = count // capacity
        shards.extend((Segment(scene, file, 0, capacity, file * capacity),) for file in range(full))
        if count % capacity:
            rests.append(Segment(scene, full, 0, count % capacity, full * capacity))
    return shards + _pack(rests, capacity)


def _pack(rests: Sequence[Segment], capacity: int) -> list[Shard]:
    shards: list[Shard] = []
    current: list[Segment] = []
    room = capacity
    for rest in rests:
        start = 0
        while start < rest.count:
            take = min(room, rest.count - start)
            current.append(Segment(rest.scene, rest.file, start, take, rest.position + start))
            start, room = start + take, room - take
            if room == 0:
                shards.append(tuple(current))
                current, room = [], capacity
    return [*shards, tuple(current)] if current else shards


@dataclass(frozen=True)
class Sources:
    """What a shard is made of: segments of part files, whose folders are given by scene."""

    shard: Shard
    folders: dict[str, Path]
    prefix: str
    record: Record

    def file(self, segment: Segment, kind: Kind) -> Path:
        """Return the part file a segment lies in."""
        return self.folders[segment.scene] / f"{self.prefix}-{kind.file_name(segment.file)}"


def write_shard(folder: Path, number: int, sources_of: Sources) -> None:
    """Write one shard's two files from the scenes' part files, streaming; a full part file is linked, not copied."""
    shard, record = sources_of.shard, sources_of.record
    count = sum(segment.count for segment in shard)
    for kind in record.kinds:
        sources = [sources_of.file(segment, kind) for segment in shard]
        with replacing_file(folder / kind.file_name(number)) as target:
            if len(shard) == 1 and _holds_exactly(sources[0], count):
                _link(sources[0], target)
                continue
            with target.open("wb") as file:
                kind.write_header(file, count)
                for source, segment in zip(sources, shard, strict=True):
                    _copy(
                        source,
                        file,
                        header_bytes(source) + segment.start * kind.record_bytes,
                        segment.count * kind.record_bytes,
                    )


def _holds_exactly(path: Path, count: int) -> bool:
    return int(np.load(path, mmap_mode="r").shape[0]) == count


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _copy(source: Path, target: IO[bytes], start: int, length: int) -> None:
    with source.open("rb") as file:
        file.seek(start)
        while length > 0:
            piece = file.read(min(COPY_BYTES, length))
            if not piece:
                raise RuntimeError(f"{source} is shorter than its header says")
            target.write(piece)
            length -= len(piece)
