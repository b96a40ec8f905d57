"""Numbers that describe one patch: brightness, contrast, saturation, sharpness, texture and colour."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

REC_601 = {"red": 0.299, "green": 0.587, "blue": 0.114}
EPSILON = 1e-6
RINGS = 12


def feature_names(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the features in the order in which `patch_features` gives them."""
    per_band = [f"{kind}_{band}" for band in bands for kind in ("mean", "std")]
    return (
        *per_band,
        "luminance_p05",
        "luminance_p95",
        "saturated_fraction",
        "gradient_mean",
        "laplacian_variance",
        "spectral_slope",
        *((ratio_name(bands),) if len(bands) > 1 else ()),
    )


def ratio_name(bands: tuple[str, ...]) -> str:
    """Return which contrast between bands is used: vegetation where the bands allow, else first against last."""
    if {"red", "nir"} <= set(bands):
        return "ndvi"
    if {"red", "green", "blue"} <= set(bands):
        return "excess_green"
    return "band_ratio"


def patch_features(pixels: NDArray[Any], valid: NDArray[np.bool_], bands: tuple[str, ...]) -> NDArray[np.float32]:
    """Describe one patch; invalid pixels (nodata) do not count.

    Args:
        pixels: (H, W, C) in the scene's dtype and raw units.
        valid: (H, W) bool; at least one True.
        bands: C names.

    Returns:
        (F,) float32, finite, in the order of `feature_names(bands)`.
    """
    # bands first: sums over contiguous planes are several times faster than over the last axis
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32).reshape(len(bands), -1)
    lit = valid.ravel()
    inside = planes if lit.all() else planes[:, lit]
    luminance = _luminance(planes, bands)
    low, high = np.percentile(luminance[lit], (5, 95))
    # nodata becomes the patch's mean so that its border makes no edge of its own brightness
    filled = np.where(lit, luminance, luminance[lit].mean()).astype(np.float32).reshape(valid.shape)
    means = inside.mean(axis=1, dtype=np.float64)
    deviations = np.sqrt(((inside - means[:, None].astype(np.float32)) ** 2).mean(axis=1, dtype=np.float64))
    described = [
        *np.stack([means, deviations], axis=1).ravel(),
        low,
        high,
        _saturated_fraction(inside, pixels.dtype),
        *_sharpness(filled, valid),
        spectral_slope(filled),
    ]
    if len(bands) > 1:
        described.append(_band_contrast(dict(zip(bands, means.tolist(), strict=True))))
    return np.asarray(described, np.float32)


def spectral_slope(luminance: NDArray[np.float32]) -> float:
    """Return the slope of log power over log frequency of an (H, W) patch; natural images have about -2 to -3.

    Blur makes it steeper (more negative), noise flatter. A constant patch has 0.
    Source: van der Schaaf & van Hateren, "Modelling the power spectra of natural images", Vision Research 36 (1996).
    """
    from scipy import fft

    centred = luminance - luminance.mean()
    if np.abs(centred).max() <= EPSILON * np.abs(luminance).max():
        return 0.0
    window, ring, count, weights = _rings(*luminance.shape)
    power = np.abs(fft.rfft2(centred * window)) ** 2
    total = np.bincount(ring, power.ravel(), minlength=count.size + 1)[:-1]
    # relative to the largest, so that the unit of the pixels does not matter; the floor is that of float32
    mean = total / count
    return float(weights @ np.log(mean / mean.max() + EPSILON**2))


@lru_cache(maxsize=8)
def _rings(
    height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return window, ring of each frequency (the last: none), frequencies per ring, and weights that give the slope."""
    from scipy import fft

    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    radius = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :]).ravel()
    edges = np.geomspace(2 / min(height, width), 0.5, RINGS + 1)
    raw = np.digitize(radius, edges) - 1
    raw[(raw < 0) | (raw >= RINGS)] = RINGS
    used = np.flatnonzero(np.bincount(raw, minlength=RINGS + 1)[:-1])
    renumbered = np.full(RINGS + 1, used.size)
    renumbered[used] = np.arange(used.size)
    ring = renumbered[raw]
    middle = np.log(np.sqrt(edges[:-1] * edges[1:]))[used]
    centred = middle - middle.mean()
    count = np.bincount(ring, minlength=used.size + 1)[:-1].astype(np.float64)
    return window, ring, count, centred / (centred**2).sum()


def _luminance(planes: NDArray[np.float32], bands: tuple[str, ...]) -> NDArray[np.float32]:
    if set(REC_601) <= set(bands):
        weights = np.asarray([REC_601.get(band, 0.0) for band in bands], np.float32)
    else:
        weights = np.full(len(bands), 1 / len(bands), np.float32)
    luminance: NDArray[np.float32] = weights @ planes
    return luminance


def _saturated_fraction(inside: NDArray[np.float32], dtype: np.dtype[Any]) -> float:
    # floating-point scenes have no largest value at which a sensor saturates
    if not np.issubdtype(dtype, np.integer):
        return 0.0
    return float((inside.max(axis=0) >= np.float32(np.iinfo(dtype).max)).mean())


def _sharpness(luminance: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[float, float]:
    import cv2

    # differences across the border of nodata are not edges of the ground
    core = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    if not core.any():
        return 0.0, 0.0
    across = cv2.Sobel(luminance, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(luminance, cv2.CV_32F, 0, 1, scale=1 / 8)
    curvature = cv2.Laplacian(luminance, cv2.CV_32F)
    return float(np.hypot(across, down)[core].mean()), float(curvature[core].var(dtype=np.float64))


def _band_contrast(mean: dict[str, float]) -> float:
    kind = ratio_name(tuple(mean))
    if kind == "excess_green":
        red, green, blue = mean["red"], mean["green"], mean["blue"]
        return (2 * green - red - blue) / max(abs(red + green + blue), EPSILON)
    if kind == "ndvi":
        first, second = mean["nir"], mean["red"]
    else:
        first, *_, second = mean.values()
    return (first - second) / max(abs(first + second), EPSILON)
