"""Probabilities as they are stored in a map."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBABILITY_LEVELS = 254
PROBABILITY_NODATA = 255  # of uint8


def encode(probabilities: NDArray[np.float32], valid: NDArray[np.bool_], dtype: str = "uint8") -> NDArray[Any]:
    """Return probabilities (..., K) as they are stored, with nodata where `valid` (...) is false.

    "uint8" is steps of 1/254 and nodata 255; "float32" and "float16" (as float32 whose digits fit) have nodata NaN.
    """
    if dtype != "uint8":
        rounded = probabilities.astype(dtype).astype(np.float32)
        return np.where(valid[..., None], rounded, np.float32(np.nan))
    levels = probabilities * np.float32(PROBABILITY_LEVELS)
    np.rint(levels, out=levels)
    np.clip(levels, 0, PROBABILITY_LEVELS, out=levels)
    if not valid.all():
        levels[~valid] = PROBABILITY_NODATA
    return levels.astype(np.uint8)


def decode(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probabilities of stored values; those of nodata mean nothing."""
    if stored.dtype == np.uint8:
        return stored.astype(np.float32) / np.float32(PROBABILITY_LEVELS)
    return stored.astype(np.float32, copy=False)
