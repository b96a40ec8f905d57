"""Exact percentiles of pixels that do not fit into memory, from streamed histograms.

The value of rank ceil(q n), as `numpy.percentile(method="inverted_cdf")`. Numbers of up to 16 bits have one counter
each. 32-bit floats are ordered like their bits: a first pass counts the upper 16 bits, a second one the lower 16 bits
within each bin that holds a wanted rank.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 2**16
Pixels = Callable[[], Iterator[list[NDArray[Any]]]]


def percentiles(pixels: Pixels, dtypes: Sequence[str], percents: Sequence[float]) -> list[list[float]]:
    """Return for each band the wanted percentiles.

    Args:
        pixels: starts a pass over the scene, which yields for each band an array of its next values; no NaN.
        dtypes: the bands' types: uint8, uint16, int16 or float32.
        percents: 0..100.

    Raises:
        ValueError: a band has no pixels.
    """
    upper = np.zeros((len(dtypes), BINS), np.int64)
    for values in pixels():
        for band, seen in enumerate(values):
            upper[band] += _counted(_sorting_key(seen) >> (16 if seen.dtype.itemsize > 2 else 0))
    if not upper.any(axis=1).all():
        raise ValueError("a band without pixels has no percentiles")
    found = [[_bin_of(counts, percent) for percent in percents] for counts in upper]
    lower = {
        (band, place): np.zeros(BINS, np.int64)
        for band, dtype in enumerate(dtypes)
        for place, _ in found[band]
        if np.dtype(dtype).itemsize > 2
    }
    if lower:
        for values in pixels():
            for band, place in lower:
                keys = _sorting_key(values[band])
                lower[band, place] += _counted(keys[keys >> 16 == place] & 0xFFFF)

    def value(band: int, place: int, rank: int) -> float:
        if (band, place) not in lower:
            return _value(place, dtypes[band])
        return _value(place << 16 | _bin_of_rank(lower[band, place], rank)[0], dtypes[band])

    return [[value(band, place, rank) for place, rank in found[band]] for band in range(len(dtypes))]


def _counted(keys: NDArray[Any]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bincount(keys, minlength=BINS)
    return counts


def _bin_of(counts: NDArray[np.int64], percent: float) -> tuple[int, int]:
    """Return the bin that holds a percentile, and its rank (from 1) within the bin."""
    return _bin_of_rank(counts, max(math.ceil(int(counts.sum()) * (percent / 100)), 1))


def _bin_of_rank(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    cumulated = np.cumsum(counts)
    place = int(np.searchsorted(cumulated, rank))
    return place, rank - int(cumulated[place] - counts[place])


def _sorting_key(values: NDArray[Any]) -> NDArray[Any]:
    """Return unsigned numbers in the order of the values."""
    if values.dtype == np.int16:
        return values.view(np.uint16) ^ np.uint16(0x8000)
    if values.dtype != np.float32:
        return values
    bits = values.view(np.uint32)
    # negative floats sort the other way round than their bits
    return bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))


def _value(key: int, dtype: str) -> float:
    if dtype == "int16":
        return float(key - 0x8000)
    if dtype != "float32":
        return float(key)
    bits = key ^ (0x80000000 if key >> 31 else 0xFFFFFFFF)
    return float(np.array(bits, np.uint32).view(np.float32))
