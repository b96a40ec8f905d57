"""Blend the predictions of overlapping windows into whole rows of a map, holding only the rows still open."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.inference.windows import Strip, WindowGrid, hann

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


class FinishedRows(NamedTuple):
    """Rows of the map to which no later window contributes."""

    row: int
    probabilities: NDArray[np.float32]  # (rows, W, K)
    valid: NDArray[np.bool_]  # (rows, W)


def weight_sums(starts: range, window_px: int) -> NDArray[np.float32]:
    """Return the sum of the Hann weights over all windows, from the first window's start on."""
    sums = np.zeros(starts[-1] - starts[0] + window_px)
    for start in starts:
        sums[start - starts[0] : start - starts[0] + window_px] += hann(window_px)
    return sums.astype(np.float32)


def _add_windows(sums: NDArray[np.float32], strip: Strip, grid: WindowGrid, predict: Predict, batch_size: int) -> None:
    size, weights = grid.window_px, np.outer(hann(grid.window_px), hann(grid.window_px))[..., None]
    offsets = [column + grid.margin_px for column in grid.cols]
    # a window without data contributes to pixels without data only
    offsets = [offset for offset in offsets if strip.valid[:, offset : offset + size].any()]
    for first in range(0, len(offsets), batch_size):
        batch = offsets[first : first + batch_size]
        images = np.stack([strip.images[:, offset : offset + size] for offset in batch])
        for offset, probabilities in zip(batch, predict(images), strict=True):
            sums[:, offset : offset + size] += probabilities * weights


def blend(
    strips: Iterable[Strip], grid: WindowGrid, predict: Predict, channels: int, batch_size: int
) -> Iterator[FinishedRows]:
    """Yield the blended map from top to bottom, each row once, as soon as its last window is predicted.

    Every pixel is the mean of its windows' probabilities, weighted by a Hann window. The weights are separable and the
    same in every strip, so their sums are two vectors instead of a second accumulator.

    Args:
        strips: one per row of the grid, in order.
        grid: the grid the strips were read by.
        predict: (N, window_px, window_px, C) → (N, window_px, window_px, K) float32 in 0..1.
        channels: K.
        batch_size: windows per call of `predict`.

    Raises:
        BadDataError: the model gave NaN or infinite values on pixels with data.
    """
    size, stride, margin, width = grid.window_px, grid.stride_px, grid.margin_px, grid.width
    sums = np.zeros((size, grid.padded_width, channels), np.float32)
    row_weights, column_weights = weight_sums(grid.rows, size), weight_sums(grid.cols, size)
    for strip in strips:
        _add_windows(sums, strip, grid, predict, batch_size)
        finished = size if strip.row == grid.rows[-1] else stride
        top, bottom = max(strip.row, 0), min(strip.row + finished, grid.height)
        if bottom > top:
            open_rows, inside = slice(top - strip.row, bottom - strip.row), slice(margin, margin + width)
            weights = np.outer(row_weights[top + margin : bottom + margin], column_weights[inside])
            probabilities = sums[open_rows, inside] / weights[..., None]
            valid = strip.valid[open_rows, inside]
            if not np.isfinite(probabilities[valid]).all():
                raise BadDataError(
                    f"The model gave NaN or infinite probabilities in rows {top} to {bottom - 1}. "
                    "Look for extreme pixel values there, or train the model again."
                )
            yield FinishedRows(top, probabilities, valid)
        sums[:-stride] = sums[stride:]
        sums[-stride:] = 0
