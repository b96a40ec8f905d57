"""Whole-scene prediction of held-out ground: the model's windows that touch it are read and predicted, no others.

The grid of windows is the whole scene's, so every held-out pixel gets the probability that it has in a map.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.operation import InferenceConfig
from satseg.evaluation.truth import HeldOutRows
from satseg.inference.blend import FinishedRows, blend
from satseg.inference.symmetries import with_symmetries
from satseg.inference.windows import Region, RowSource, Strip, WindowGrid, plan_windows, read_ahead, read_strips
from satseg.models.interface import Segmenter
from satseg.scenes.raster import SceneReader, open_scene, reflected

Spans = list[tuple[int, int]]


class NeededRows:
    """A scene as rows of which only the columns that the model needs are read; the others are 0.

    Pixels of held-out windows are valid where they hold data, all others are not: they are context.
    """

    def __init__(self, reader: SceneReader, grid: WindowGrid, ground: HeldOutRows) -> None:
        self._reader, self._ground = reader, ground
        self.height, self.width, self._columns = reader.height, reader.width, grid.columns
        self._sees = _seen(grid.rows, grid.window_px, grid.height)
        across = _seen(grid.cols, grid.window_px, grid.width)
        windows = ground.windows
        tops, lefts, sizes = (np.array([getattr(one, name) for one in windows]) for name in ("row", "col", "size"))
        self._rows = _touching(tops, np.minimum(tops + sizes, grid.height), grid.rows, grid.window_px)
        cols = _touching(lefts, np.minimum(lefts + sizes, grid.width), grid.cols, grid.window_px)
        self._spans = np.stack([across[cols[:, 0], 0], across[cols[:, 1], 1]], axis=1)

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (stop - start, columns, C) and which of them are scored (stop - start, columns)."""
        rows, origin = max(stop - start, 0), self._columns.start
        pixels = np.zeros((rows, len(self._columns), self._reader.count), self._reader.dtype)
        valid = np.zeros(pixels.shape[:2], bool)
        if not rows:
            return pixels, valid
        for left, right in self._needed(start, stop):
            pixels[:, left - origin : right - origin] = self._reader.read(start, left, rows, right - left)
        windows = [self._ground.windows[position] for position in self._ground.within(start, stop)]
        owned = self._ground.owners(start, stop) >= 0
        for left, right in _merged([(one.col, min(one.col + one.size, self.width)) for one in windows]):
            inside = owned[:, left - self._ground.left : right - self._ground.left]
            valid[:, left - origin : right - origin] = inside & self._reader.valid_mask(start, left, rows, right - left)
        return pixels, valid

    def _needed(self, start: int, stop: int) -> Spans:
        """Return the columns seen by model windows that touch held-out ground and see these rows."""
        seeing = np.flatnonzero((self._sees[:, 0] < stop) & (self._sees[:, 1] > start))
        if not len(seeing):
            return []
        chosen = (self._rows[:, 0] <= seeing[-1]) & (self._rows[:, 1] >= seeing[0])
        return _merged([(left, right) for left, right in self._spans[chosen].tolist()])


class ArrayRows:
    """A window from memory as rows, and which of its pixels are scored."""

    def __init__(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        self._image, self._valid = image, valid
        self.height, self.width = image.shape[:2]

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (stop - start, W, C) and which of them are scored (stop - start, W)."""
        chosen = slice(start, max(stop, start))
        return self._image[chosen], self._valid[chosen]


class Predictor:
    """Predicts held-out ground as whole scenes are predicted."""

    def __init__(self, segmenter: Segmenter, config: InferenceConfig) -> None:
        self._predict = with_symmetries(segmenter.predict, config.test_time)
        self._channels, self._config = segmenter.description.channels, config

    def of_scene(self, path: Path, ground: HeldOutRows, height: int, width: int) -> Generator[FinishedRows]:
        """Yield the rows of the held-out ground's bounds in a scene's map; `valid` marks the pixels that are scored."""

        def strips(grid: WindowGrid) -> Generator[Strip]:
            with open_scene(path) as reader:  # in the thread that reads
                yield from read_strips(NeededRows(reader, grid, ground), grid)

        return self._rows(height, width, ground, strips)

    def of_window(self, image: NDArray[Any], valid: NDArray[np.bool_], ground: HeldOutRows) -> Generator[FinishedRows]:
        """Yield the rows of a window (H, W, C) by itself, of which `valid` (H, W) is scored; its mirror is context."""
        source: RowSource = ArrayRows(image, valid)

        def strips(grid: WindowGrid) -> Generator[Strip]:
            yield from read_strips(source, grid)

        return self._rows(source.height, source.width, ground, strips)

    def _rows(
        self, height: int, width: int, ground: HeldOutRows, strips: Callable[[WindowGrid], Generator[Strip]]
    ) -> Generator[FinishedRows]:
        config = self._config
        region = Region(ground.top, ground.bottom, ground.left, ground.right)
        grid = plan_windows(height, width, config.window_px, config.overlap).part(region)
        with closing(read_ahead(strips(grid))) as ahead:
            yield from blend(ahead, grid, self._predict, self._channels, config.batch_size, config.weighting)


def _seen(starts: range, length: int, extent: int) -> NDArray[np.int64]:
    """Return the first pixel that each window sees along an axis, and the one after the last, (N, 2)."""
    seen = (reflected(start, length, extent) for start in starts)
    return np.array([(int(places.min()), int(places.max()) + 1) for places in seen], np.int64)


def _touching(first: NDArray[np.int64], stop: NDArray[np.int64], starts: range, length: int) -> NDArray[np.int64]:
    """Return for each interval the numbers of the first and last model window that touch it, (N, 2)."""
    low = (first - length - starts.start) // starts.step + 1
    high = (stop - 1 - starts.start) // starts.step
    return np.stack([low.clip(0, len(starts) - 1), high.clip(0, len(starts) - 1)], axis=1)


def _merged(spans: Spans) -> Spans:
    """Return the union of intervals as disjoint ones in order."""
    merged: Spans = []
    for left, right in sorted(spans):
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], right))
        else:
            merged.append((left, right))
    return merged
