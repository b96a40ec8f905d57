"""An image in memory as tiles the model takes, and their probabilities as one map again."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.scenes.raster import reflected

STRIDE_OF_NETWORKS = 32
OVERLAP_PX = 64


class Span(NamedTuple):
    """The tiles along one side: where they start, and how long each is."""

    starts: tuple[int, ...]
    length: int


def spans(length: int, tile_px: int) -> Span:
    """Lay tiles along a side: one that covers it (rounded up to 32), or several that overlap by 64 pixels or more."""
    if length <= tile_px:
        return Span((0,), -(-length // STRIDE_OF_NETWORKS) * STRIDE_OF_NETWORKS)
    overlap = min(OVERLAP_PX, tile_px // 2)
    count = -(-(length - overlap) // (tile_px - overlap))
    return Span(tuple(round(step * (length - tile_px) / (count - 1)) for step in range(count)), tile_px)


def ramp(span: Span) -> NDArray[np.float32]:
    """Return the weight of a tile's pixels along one side: 1, falling to nearly 0 over the overlap."""
    if len(span.starts) == 1:
        return np.ones(span.length, np.float32)
    overlap = min(OVERLAP_PX, span.length // 2)
    rise = (np.arange(span.length) + 0.5) / overlap
    weights: NDArray[np.float32] = np.minimum(1.0, np.minimum(rise, rise[::-1])).astype(np.float32)
    return weights


def predict_tiles(
    image: NDArray[Any],
    channels: int,
    tile_px: int,
    predict: Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[np.float32]]],
) -> NDArray[np.float32]:
    """Return the probabilities (H, W, K) of an image (H, W, C).

    An image of at most `tile_px` a side is one call of the model, mirrored at its edges up to a multiple of 32. Larger
    ones are tiles of equal size, blended over their overlaps.

    Args:
        image: raw pixels.
        channels: K.
        tile_px: side of a tile, a multiple of 32.
        predict: tiles (h, w, C) to probabilities (h, w, K), in order.
    """
    height, width = image.shape[:2]
    rows, cols = spans(height, tile_px), spans(width, tile_px)
    corners = [(row, col) for row in rows.starts for col in cols.starts]
    tiles = [_cut(image, row, col, rows.length, cols.length) for row, col in corners]
    found = predict(tiles)
    if len(found) == 1:
        return found[0][:height, :width]
    weights = np.outer(ramp(rows), ramp(cols))[..., None]
    total = np.zeros((height, width, channels), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for (row, col), probabilities in zip(corners, found, strict=True):
        inside = slice(row, min(row + rows.length, height)), slice(col, min(col + cols.length, width))
        part = slice(0, inside[0].stop - row), slice(0, inside[1].stop - col)
        total[inside] += (probabilities * weights)[part]
        weight[inside] += weights[part]
    return total / weight


def _cut(image: NDArray[Any], row: int, col: int, height: int, width: int) -> NDArray[Any]:
    if row + height <= image.shape[0] and col + width <= image.shape[1]:
        return image[row : row + height, col : col + width]
    rows, cols = reflected(row, height, image.shape[0]), reflected(col, width, image.shape[1])
    return np.ascontiguousarray(image[np.ix_(rows, cols)])
