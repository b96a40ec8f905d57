"""The grid of overlapping windows over a scene, and reading the scene one row of windows at a time."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from satseg.scenes.raster import reflected

T = TypeVar("T")
_DONE: Any = object()


class Region(NamedTuple):
    """A rectangle of pixels; `bottom` and `right` are the first ones outside."""

    top: int
    bottom: int
    left: int
    right: int


class RowSource(Protocol):
    """Anything that can be read by rows of pixels: the columns `WindowGrid.columns` of a scene, in most cases all."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (stop - start, columns, C) and which of them are data (stop - start, columns)."""
        ...


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `window_px` every `stride_px`, reaching over each edge of the scene.

    The overhang gives pixels at the scene's edge the context and the weight that pixels inside have. The grid depends
    on the scene's size alone, so any region can be predicted by itself, from the windows that touch it, and joined
    without a seam.
    """

    height: int
    width: int
    window_px: int
    stride_px: int
    region: Region | None = None  # None: the whole scene

    @property
    def margin_px(self) -> int:
        """Rows and columns by which the first windows reach over the top and left edge."""
        return (self.window_px - self.stride_px) // 2

    @property
    def wanted(self) -> Region:
        """The part of the map that is to be made."""
        return self.region or Region(0, self.height, 0, self.width)

    @property
    def rows(self) -> range:
        """First scene row of each row of windows; the first ones may be negative."""
        return self._starts(self.height, self.wanted.top, self.wanted.bottom)

    @property
    def cols(self) -> range:
        """First scene column of each column of windows."""
        return self._starts(self.width, self.wanted.left, self.wanted.right)

    @property
    def padded_width(self) -> int:
        """Columns covered by a row of windows."""
        return self.cols[-1] + self.window_px - self.cols[0]

    @property
    def columns(self) -> range:
        """The scene's columns that the windows see."""
        seen = reflected(self.cols[0], self.padded_width, self.width)
        return range(int(seen.min()), int(seen.max()) + 1)

    def part(self, region: Region) -> "WindowGrid":
        """Return the windows that touch a region."""
        return WindowGrid(self.height, self.width, self.window_px, self.stride_px, region)

    def _starts(self, length: int, low: int, high: int) -> range:
        beyond_first = max(0, length + 2 * self.margin_px - self.window_px)
        last = -(-beyond_first // self.stride_px)
        first_touching = max(0, (low + self.margin_px - self.window_px) // self.stride_px + 1)
        last_touching = min(last, (high - 1 + self.margin_px) // self.stride_px)
        return range(
            first_touching * self.stride_px - self.margin_px,
            last_touching * self.stride_px - self.margin_px + 1,
            self.stride_px,
        )


def plan_windows(height: int, width: int, window_px: int, overlap: float) -> WindowGrid:
    """Lay the grid for a scene; `overlap` is the part (0 to below 1) that neighbouring windows share."""
    return WindowGrid(height, width, window_px, max(1, round(window_px * (1 - overlap))))


def hann(length: int) -> NDArray[np.float32]:
    """Return the Hann window sampled at pixel centres, so that no weight is zero: (length,) in (0, 1]."""
    centres = (np.arange(length) + 0.5) / length
    return (np.sin(np.pi * centres) ** 2).astype(np.float32)


def triangle(length: int) -> NDArray[np.float32]:
    """Return weights that fall linearly from the middle: (length,) in (0, 1]."""
    return (1 - np.abs((np.arange(length) + 0.5) / length * 2 - 1)).astype(np.float32)


def gaussian(length: int) -> NDArray[np.float32]:
    """Return a bell with a standard deviation of an eighth of the window (nnU-Net, Isensee 2021): (length,)."""
    return np.exp(-(((np.arange(length) + 0.5) / length * 8 - 4) ** 2) / 2).astype(np.float32)


def flat(length: int) -> NDArray[np.float32]:
    """Return equal weights: (length,) of 1."""
    return np.ones(length, np.float32)


WEIGHTS: dict[str, Callable[[int], NDArray[np.float32]]] = {
    "hann": hann,
    "triangle": triangle,
    "gaussian": gaussian,
    "flat": flat,
}


class Strip(NamedTuple):
    """The pixels under one row of windows, mirrored beyond the scene's edges."""

    row: int
    images: NDArray[Any]  # (window_px, padded_width, C)
    valid: NDArray[np.bool_]  # (window_px, padded_width)


def read_strips(source: RowSource, grid: WindowGrid) -> Generator[Strip]:
    """Yield the strips from top to bottom; rows shared by neighbouring strips are read once."""
    columns = reflected(grid.cols[0], grid.padded_width, grid.width) - grid.columns[0]
    pixels, valid = (_mirrored(rows, columns) for rows in source.read_rows(0, 0))
    first = last = 0  # the scene rows held in `pixels`
    for row in grid.rows:
        wanted = reflected(row, grid.window_px, grid.height)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        if not first <= low <= last:
            pixels, valid, last = pixels[:0], valid[:0], low
            first = low
        new_pixels, new_valid = (_mirrored(rows, columns) for rows in source.read_rows(last, max(high, last)))
        pixels = np.concatenate([pixels[low - first :], new_pixels])
        valid = np.concatenate([valid[low - first :], new_valid])
        first, last = low, max(high, last)
        if (np.diff(wanted) == 1).all():  # nothing is mirrored, so a view is enough
            yield Strip(row, pixels[: grid.window_px], valid[: grid.window_px])
        else:
            yield Strip(row, pixels[wanted - first], valid[wanted - first])


def _mirrored(rows: NDArray[Any], columns: NDArray[np.intp]) -> NDArray[Any]:
    """Return rows[:, columns]; the part of the columns that is in order is copied as a block, 10 times faster."""
    start = int(columns.argmin())
    steps = np.diff(columns[start:]) == 1
    stop = start + 1 + (len(steps) if steps.all() else int(steps.argmin()))
    mirrored = np.empty((len(rows), len(columns), *rows.shape[2:]), rows.dtype)
    mirrored[:, :start] = rows[:, columns[:start]]
    mirrored[:, start:stop] = rows[:, columns[start] : columns[start] + stop - start]
    mirrored[:, stop:] = rows[:, columns[stop:]]
    return mirrored


def read_ahead(items: Generator[T]) -> Generator[T]:
    """Make the next item while the consumer works on this one; the generator runs in one thread from start to end."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            pending = pool.submit(next, items, _DONE)
            while (item := pending.result()) is not _DONE:
                pending = pool.submit(next, items, _DONE)
                yield item
        finally:
            pool.submit(items.close).result()
