"""Counts and moments of a finished scene, from reading all of it again."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import BadDataError
from satseg.progress import Advance
from satseg.scenes.raster import gdal_environment

BLOCK_PX = 512
WINDOW_BYTES = 8 * 2**20
_CACHE_BYTES = 32 * 2**20  # each block is read once
_LANES = 2  # threads that read; fixed, because sums of floats depend on their order
_PIECE = 2**18  # values whose squares stay in the processor's cache


@dataclass
class PixelStatistics:
    """Counts and moments of a scene's pixels, summed window by window; exact for whole numbers of up to 16 bits."""

    pixels: int = 0
    valid: int = 0
    black: int = 0
    infinite: int = 0
    minimum: list[float] = field(default_factory=list)
    maximum: list[float] = field(default_factory=list)
    finite: list[int] = field(default_factory=list)
    total: list[int | float] = field(default_factory=list)
    squares: list[int | float] = field(default_factory=list)

    def add(self, bands: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
        """Add a window: bands (C, H, W) and valid (H, W), None for all of it."""
        if not self.minimum:
            count = len(bands)
            self.minimum, self.maximum = [float("inf")] * count, [float("-inf")] * count
            self.total, self.squares, self.finite = [0] * count, [0] * count, [0] * count
        if valid is not None and valid.all():
            valid = None
        self.pixels += bands[0].size
        self.valid += bands[0].size if valid is None else int(valid.sum())
        lowest = 0.0
        for i, band in enumerate(bands):
            lowest = max(lowest, self._add_band(i, band.ravel() if valid is None else band[valid]))
        if lowest <= 0:  # otherwise a band without a 0 shows that no pixel is black
            black = (bands == 0).all(axis=0)
            self.black += int(black.sum() if valid is None else (black & valid).sum())

    def _add_band(self, i: int, values: NDArray[Any]) -> float:
        """Add the valid values of a band; returns the least of them."""
        whole = values.dtype.kind in "iu"
        if not whole:
            finite = np.isfinite(values)
            if not finite.all():
                self.infinite += int(np.isinf(values).sum())
                values = values[finite]
        if not len(values):
            return 0.0
        low, high = float(values.min()), float(values.max())
        self.minimum[i], self.maximum[i] = min(self.minimum[i], low), max(self.maximum[i], high)
        self.finite[i] += len(values)
        for start in range(0, len(values), _PIECE):
            self._add_sums(i, values[start : start + _PIECE], whole)
        return low

    def _add_sums(self, i: int, values: NDArray[Any], whole: bool) -> None:
        if whole and values.dtype.itemsize <= 2:  # squares of 16 bits fit into 32
            wide = values.astype(np.uint32 if values.dtype.kind == "u" else np.int32)
            self.total[i] += int(wide.sum(dtype=np.int64))
            wide *= wide
            self.squares[i] += int(wide.sum(dtype=np.int64))
        else:
            exact = values.astype(np.float64)
            self.total[i] += float(exact.sum())
            self.squares[i] += float(np.square(exact, out=exact).sum())

    def include(self, other: "PixelStatistics") -> None:
        """Add what was summed of other windows of the same scene."""
        if not other.pixels:
            return
        if not self.pixels:
            vars(self).update(vars(other))
            return
        for name in ("pixels", "valid", "black", "infinite"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.minimum = [min(pair) for pair in zip(self.minimum, other.minimum, strict=True)]
        self.maximum = [max(pair) for pair in zip(self.maximum, other.maximum, strict=True)]
        for name in ("finite", "total", "squares"):
            pairs = zip(getattr(self, name), getattr(other, name), strict=True)
            setattr(self, name, [ours + theirs for ours, theirs in pairs])

    @property
    def nodata_fraction(self) -> float:
        """Part of the scene without data."""
        return 1 - self.valid / max(self.pixels, 1)

    @property
    def black_fraction(self) -> float:
        """Part of the scene in which every band is 0 though it counts as data."""
        return self.black / max(self.pixels, 1)

    def bands(self) -> list[dict[str, float]]:
        """Return minimum, maximum, mean and standard deviation of each band over its finite pixels."""
        found = []
        for i, count in enumerate(self.finite):
            mean = self.total[i] / max(count, 1)
            variance = max(self.squares[i] / max(count, 1) - mean * mean, 0.0)
            low, high = (self.minimum[i], self.maximum[i]) if count else (0.0, 0.0)
            found.append({"minimum": low, "maximum": high, "mean": mean, "stddev": variance**0.5})
        return found


def windows(width: int, height: int, pixel_bytes: int, tiled: bool = True) -> Iterator[Window]:
    """Yield windows of about WINDOW_BYTES that cover a raster: whole blocks of a tiled one, rows of a striped one."""
    pixels = max(WINDOW_BYTES // pixel_bytes, BLOCK_PX)
    if tiled:
        side = max(int(pixels**0.5) // BLOCK_PX, 1) * BLOCK_PX
        rows, cols = side, side
    else:
        rows, cols = max(pixels // width, 1), width
        rows = max(rows // BLOCK_PX * BLOCK_PX, min(rows, BLOCK_PX))
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            yield Window(col, row, min(cols, width - col), min(rows, height - row))


def measure(scene: Path, advance: Advance = lambda amount=1: None) -> PixelStatistics:
    """Read a finished scene once and return its statistics; `advance` is called with the pixels done.

    A pixel is data where the mask says so and a band is neither nodata nor NaN.

    Raises:
        BadDataError: a pixel cannot be read.
    """
    lock = Lock()

    def told(amount: float = 1) -> None:
        with lock:
            advance(amount)

    statistics = PixelStatistics()
    with ThreadPoolExecutor(max_workers=_LANES) as lanes:
        for part in lanes.map(lambda lane: _measure_lane(scene, lane, told), range(_LANES)):
            statistics.include(part)
    return statistics


def _measure_lane(scene: Path, lane: int, advance: Advance) -> PixelStatistics:
    """Return the statistics of every _LANES-th window."""
    statistics = PixelStatistics()
    with gdal_environment(), rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), rasterio.open(scene) as dataset:
        masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        dtype = np.dtype(dataset.dtypes[0])
        marks = {math.nan} if dtype.kind == "f" else set()
        if not masked and dataset.nodata is not None and not math.isnan(dataset.nodata):
            marks.add(dataset.nodata)
        pixel_bytes = dataset.count * dtype.itemsize
        for window in islice(windows(dataset.width, dataset.height, pixel_bytes), lane, None, _LANES):
            try:
                bands = dataset.read(window=window)
                valid = dataset.read_masks(1, window=window) > 0 if masked else None
            except RasterioError as error:
                raise BadDataError(f"{scene} cannot be read again after writing ({error}).") from error
            for mark in marks:
                data = ~_empty(bands, mark)
                valid = data if valid is None else valid & data
            statistics.add(bands, valid)
            advance(int(window.width * window.height))
    return statistics


def _empty(bands: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Return (H, W) bool: True where all bands (C, H, W) are nodata."""
    gone: NDArray[np.bool_] = (np.isnan(bands) if np.isnan(nodata) else bands == nodata).all(axis=0)
    return gone
