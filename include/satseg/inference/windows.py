"""The grid of overlapping windows over a scene, and reading the scene one row of windows at a time."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from satseg.scenes.raster import reflected


class RowSource(Protocol):
    """Anything that can be read by whole rows of pixels."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (stop - start, W, C) and which of them are data (stop - start, W)."""
        ...


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `window_px` every `stride_px`, reaching over each edge of the scene.

    The overhang gives pixels at the scene's edge the context and the weight that pixels inside have. The grid depends
    on the scene's size alone, so any range of its rows can be predicted by itself and joined without a seam.
    """

    height: int
    width: int
    window_px: int
    stride_px: int

    @property
    def margin_px(self) -> int:
        """Rows and columns by which the first windows reach over the top and left edge."""
        return (self.window_px - self.stride_px) // 2

    @property
    def rows(self) -> range:
        """First scene row of each row of windows; the first ones may be negative."""
        return self._starts(self.height)

    @property
    def cols(self) -> range:
        """First scene column of each column of windows."""
        return self._starts(self.width)

    @property
    def padded_width(self) -> int:
        """Columns covered by a row of windows."""
        return self.cols[-1] + self.window_px + self.margin_px

    def _starts(self, length: int) -> range:
        beyond_first = max(0, length + 2 * self.margin_px - self.window_px)
        steps = -(-beyond_first // self.stride_px)
        return range(-self.margin_px, -self.margin_px + steps * self.stride_px + 1, self.stride_px)


def plan_windows(height: int, width: int, window_px: int, overlap: float) -> WindowGrid:
    """Lay the grid for a scene; `overlap` is the part (0 to below 1) that neighbouring windows share."""
    return WindowGrid(height, width, window_px, max(1, round(window_px * (1 - overlap))))


def hann(length: int) -> NDArray[np.float32]:
    """Return the Hann window sampled at pixel centres, so that no weight is zero: (length,) in (0, 1]."""
    centres = (np.arange(length) + 0.5) / length
    return (np.sin(np.pi * centres) ** 2).astype(np.float32)


class Strip(NamedTuple):
    """The pixels under one row of windows, mirrored beyond the scene's edges."""

    row: int
    images: NDArray[Any]  # (window_px, padded_width, C)
    valid: NDArray[np.bool_]  # (window_px, padded_width)


def read_strips(source: RowSource, grid: WindowGrid) -> Generator[Strip]:
    """Yield the strips from top to bottom; rows shared by neighbouring strips are read once."""
    columns = reflected(-grid.margin_px, grid.padded_width, grid.width)
    pixels, valid = source.read_rows(0, 0)
    first = last = 0  # the scene rows held in `pixels`
    for row in grid.rows:
        wanted = reflected(row, grid.window_px, grid.height)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        if not first <= low <= last:
            pixels, valid, last = pixels[:0], valid[:0], low
            first = low
        new_pixels, new_valid = source.read_rows(last, max(high, last))
        pixels = np.concatenate([pixels[low - first :], new_pixels])
        valid = np.concatenate([valid[low - first :], new_valid])
        first, last = low, max(high, last)
        inside = np.ix_(wanted - first, columns)
        yield Strip(row, pixels[inside], valid[inside])


def read_ahead(strips: Generator[Strip]) -> Iterator[Strip]:
    """Read the next strip while the consumer works on this one; the generator runs in one thread from start to end."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            pending = pool.submit(next, strips, None)
            while (strip := pending.result()) is not None:
                pending = pool.submit(next, strips, None)
                yield strip
        finally:
            pool.submit(strips.close).result()
