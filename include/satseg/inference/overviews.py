"""Halving a map: the pixels of its overviews, made while its parts are in memory; GDAL would read all of it again."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COARSEST_PX = 512  # no overview is smaller than a tile


def levels(height: int, width: int, most: int) -> int:
    """Return how often a map is halved until it fits into a tile, at most `most` times."""
    return min(most, max(0, int(np.ceil(np.log2(max(height, width) / COARSEST_PX)))))


def halved_mean(pixels: NDArray[Any], nodata: float) -> NDArray[Any]:
    """Return the means of 2 x 2 pixels (H, W), without those that are nodata; halves are rounded up, as GDAL does."""
    pixels = _even(pixels)
    size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    valid = ~np.isnan(pixels) if np.isnan(nodata) else pixels != nodata
    if valid.all():
        means: NDArray[Any] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return means
    share = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(np.where(valid, pixels, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    means = sums / np.maximum(share, 0.25)
    if pixels.dtype == np.uint8:
        means = np.floor(means + 0.5)
    means[share == 0] = nodata
    return means.astype(pixels.dtype)


def halved_mode(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the most frequent of 2 x 2 values (H, W); of two pairs the one that is complete first, as GDAL does."""
    pixels = _even(pixels)
    a, b, c, d = pixels[::2, ::2], pixels[::2, 1::2], pixels[1::2, ::2], pixels[1::2, 1::2]
    second = (b == c) | ((b == d) & (a != c))
    return np.where((c == d) & (a != b), c, np.where(second, b, a))


def _even(pixels: NDArray[Any]) -> NDArray[Any]:
    """Repeat the last row and column of (H, W) where their number is odd."""
    height, width = pixels.shape
    return np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else pixels
