"""Blend the predictions of overlapping windows into whole rows of a map, holding only the rows still open."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.inference.windows import WEIGHTS, Strip, WindowGrid, hann, read_ahead

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]
Weighting = Callable[[int], NDArray[np.float32]]


class FinishedRows(NamedTuple):
    """Rows of the wanted part of the map to which no later window contributes."""

    row: int
    probabilities: NDArray[np.float32]  # (rows, W, K)
    valid: NDArray[np.bool_]  # (rows, W)


class _Opened(NamedTuple):
    """A row of windows whose strip was read."""

    row: int
    valid: NDArray[np.bool_]  # (window_px, padded_width)


class _Predicted(NamedTuple):
    """One call of the model, and the rows of windows opened for it."""

    opened: list[_Opened]
    places: list[tuple[int, int]]  # row of windows, first padded column
    probabilities: NDArray[np.float32]  # (windows, window_px, window_px, K)


def blend(  # noqa: PLR0917 - the strips and how they are predicted
    strips: Iterable[Strip],
    grid: WindowGrid,
    predict: Predict,
    channels: int,
    batch_size: int,
    weighting: str = "hann",
) -> Generator[FinishedRows]:
    """Yield the blended map from top to bottom, each row once, as soon as its last window is predicted.

    Every pixel is the mean of its windows' probabilities, weighted by a window function. The model runs in a thread of
    its own, one batch ahead.

    Args:
        strips: one per row of the grid, in order.
        grid: the grid the strips were read by.
        predict: (N, window_px, window_px, C) → (N, window_px, window_px, K) float32 in 0..1; N is always `batch_size`.
        channels: K.
        batch_size: windows per call of `predict`.
        weighting: a key of WEIGHTS.

    Raises:
        BadDataError: the model gave NaN or infinite values on pixels with data.
    """
    rows, waiting = _OpenRows(grid, channels, WEIGHTS[weighting]), deque[_Opened]()
    with closing(read_ahead(_predicted(strips, grid, predict, batch_size))) as batches:
        for batch in batches:
            waiting.extend(batch.opened)
            for (row, offset), probabilities in zip(batch.places, batch.probabilities, strict=True):
                while waiting[0].row < row:
                    yield from rows.finish(waiting.popleft())
                rows.add(offset, probabilities)
        for strip in waiting:
            yield from rows.finish(strip)


def _predicted(strips: Iterable[Strip], grid: WindowGrid, predict: Predict, batch_size: int) -> Generator[_Predicted]:
    """Gather windows across strips into batches of one shape, so that a compiled model is compiled once."""
    size = grid.window_px
    opened: list[_Opened] = []
    places: list[tuple[int, int]] = []
    images: NDArray[Any] = np.empty(0)
    for strip in strips:
        opened.append(_Opened(strip.row, strip.valid))
        for offset in (column - grid.cols[0] for column in grid.cols):
            if not strip.valid[:, offset : offset + size].any():
                continue  # a window without data contributes to pixels without data only
            if not places:  # a new array each time: the model may keep the one it was given
                images = np.empty((batch_size, size, size, strip.images.shape[-1]), strip.images.dtype)
            images[len(places)] = strip.images[:, offset : offset + size]
            places.append((strip.row, offset))
            if len(places) == batch_size:
                yield _Predicted(opened, places, predict(images))
                opened, places = [], []
    if places:
        images[len(places) :] = images[0]
        yield _Predicted(opened, places, predict(images)[: len(places)])
    elif opened:
        yield _Predicted(opened, [], np.empty(0, np.float32))


def weight_sums(starts: range, window_px: int, weighting: Weighting = hann) -> NDArray[np.float32]:
    """Return the sum of the weights over all windows, from the first window's start on."""
    sums = np.zeros(starts[-1] - starts[0] + window_px)
    for start in starts:
        sums[start - starts[0] : start - starts[0] + window_px] += weighting(window_px)
    return sums.astype(np.float32)


class _OpenRows:
    """The weighted sums of the rows that windows still come to."""

    def __init__(self, grid: WindowGrid, channels: int, weighting: Weighting) -> None:
        size = grid.window_px
        self._grid = grid
        self._sums = np.zeros((size, grid.padded_width, channels), np.float32)
        self._weights = np.outer(weighting(size), weighting(size))[..., None]
        self._weighted = np.empty((size, size, channels), np.float32)
        # the weights are separable and the same in every strip: two vectors instead of a second accumulator
        self._row_weights = weight_sums(grid.rows, size, weighting)
        self._column_weights = weight_sums(grid.cols, size, weighting)

    def add(self, offset: int, probabilities: NDArray[np.float32]) -> None:
        """Add a window of the first open row of windows."""
        np.multiply(probabilities, self._weights, out=self._weighted)
        self._sums[:, offset : offset + self._grid.window_px] += self._weighted

    def finish(self, strip: _Opened) -> Generator[FinishedRows]:
        """Yield the rows that end with this row of windows, if they are wanted, and make place for the next."""
        grid, wanted, stride = self._grid, self._grid.wanted, self._grid.stride_px
        ending = grid.window_px if strip.row == grid.rows[-1] else stride
        top, bottom = max(strip.row, wanted.top), min(strip.row + ending, wanted.bottom)
        if bottom > top:
            yield self._mean(strip, top, bottom)
        self._sums[:-stride] = self._sums[stride:]
        self._sums[-stride:] = 0

    def _mean(self, strip: _Opened, top: int, bottom: int) -> FinishedRows:
        grid, wanted = self._grid, self._grid.wanted
        rows = slice(top - strip.row, bottom - strip.row)
        columns = slice(wanted.left - grid.cols[0], wanted.right - grid.cols[0])
        row_weights = self._row_weights[top - grid.rows[0] : bottom - grid.rows[0]]
        probabilities = self._sums[rows, columns] / np.outer(row_weights, self._column_weights[columns])[..., None]
        valid = strip.valid[rows, columns]
        if not np.isfinite(probabilities).all() and not np.isfinite(probabilities[valid]).all():
            raise BadDataError(
                f"The model gave NaN or infinite probabilities in rows {top} to {bottom - 1}. "
                "Look for extreme pixel values there, or train the model again."
            )
        return FinishedRows(top, probabilities, valid)
