"""Seeded noise for the demo scenes: value noise, fractal noise and noise looked up by coordinates."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
_TILE_PX = 256


def value_noise(random: np.random.Generator, shape: tuple[int, int], cell_px: float) -> Image:
    """Return smooth noise of mean 0 and standard deviation about 1, (H, W) float32.

    Args:
        random: source of the lattice values.
        shape: height and width in pixels.
        cell_px: distance of the lattice points; features are about as large.
    """
    rows, cols = (max(2, round(side / cell_px) + 2) for side in shape)
    lattice = random.standard_normal((rows, cols), dtype=np.float32)
    how = cv2.INTER_CUBIC if cell_px > 1 else cv2.INTER_LINEAR
    grown = cv2.resize(lattice, shape[::-1], interpolation=how)
    return np.asarray(grown * np.float32(1.35), dtype=np.float32)  # interpolation averages: bring the spread back


def fractal_noise(random: np.random.Generator, shape: tuple[int, int], cell_px: float, octaves: int = 3) -> Image:
    """Return noise with detail at several scales, each half as large and half as strong, (H, W) float32.

    Method: fractional Brownian motion of value noise (Ebert et al., Texturing and Modeling, 2003, ch. 2).
    """
    total = np.zeros(shape, dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        total += np.float32(weight) * value_noise(random, shape, max(1.0, cell_px / 2**octave))
        weight *= 0.5
    return total / np.float32(sum(0.25**octave for octave in range(octaves)) ** 0.5)


@lru_cache(maxsize=1)
def _tiles() -> tuple[Image, Image]:
    """Return periodic white and smooth noise of one fixed seed, each (256, 256) float32, standard deviation 1."""
    white = np.random.default_rng(20_15).standard_normal((_TILE_PX, _TILE_PX), dtype=np.float32)
    wrapped = cv2.GaussianBlur(np.tile(white, (3, 3)), (0, 0), 3.0)[_TILE_PX : 2 * _TILE_PX, _TILE_PX : 2 * _TILE_PX]
    return white, np.ascontiguousarray(wrapped / wrapped.std())


def cell_noise(x: Image, y: Image, offset: int = 0) -> Image:
    """Return one random value (mean 0, deviation 1) per unit cell of the coordinates; same shape as x and y."""
    columns = (np.floor(x).astype(np.int32) + 17 * offset) & (_TILE_PX - 1)
    rows = (np.floor(y).astype(np.int32) + 71 * offset) & (_TILE_PX - 1)
    values: Image = _tiles()[0][rows, columns]
    return values


def smooth_noise(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], offset: int = 0) -> Image:
    """Return noise that varies smoothly over about eight units of the coordinates; same shape as x and y."""
    columns = (x.astype(np.int32) + 31 * offset) & (_TILE_PX - 1)
    rows = (y.astype(np.int32) + 57 * offset) & (_TILE_PX - 1)
    values: Image = _tiles()[1][rows, columns]
    return values


def smooth_step(values: NDArray[np.floating[Any]], low: float, high: float) -> Image:
    """Return 0 below `low`, 1 above `high` and a smooth rise between, elementwise."""
    ramp = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)
