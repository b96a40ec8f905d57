"""Numbers that describe one patch: brightness, contrast, saturation, sharpness, texture and colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REC_601 = {"red": 0.299, "green": 0.587, "blue": 0.114}
EPSILON = 1e-6


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
    values = pixels.astype(np.float32)
    inside = values[valid]
    luminance = _luminance(values, bands)
    lit = luminance[valid]
    # nodata becomes the patch's mean so that its border makes no edge of its own brightness
    filled = luminance if valid.all() else np.where(valid, luminance, lit.mean()).astype(np.float32)
    moments = np.stack([inside.mean(axis=0, dtype=np.float64), inside.std(axis=0, dtype=np.float64)], axis=1)
    low, high = np.percentile(lit, (5, 95))
    described = [
        *moments.ravel(),
        low,
        high,
        _saturated_fraction(pixels, valid),
        *_sharpness(filled, valid),
        spectral_slope(filled),
    ]
    if len(bands) > 1:
        described.append(_band_contrast(inside, bands))
    return np.asarray(described, np.float32)


def spectral_slope(luminance: NDArray[np.float32]) -> float:
    """Return the slope of log power over log frequency of an (H, W) patch; natural images have about -2 to -3.

    Blur makes it steeper (more negative), noise flatter. A constant patch has 0.
    Source: van der Schaaf & van Hateren, "Modelling the power spectra of natural images", Vision Research 36 (1996).
    """
    from scipy import fft

    height, width = luminance.shape
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    centred = (luminance - luminance.mean()) * window
    power = np.abs(fft.rfft2(centred)) ** 2
    if power.sum() <= EPSILON:
        return 0.0
    radius = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :])
    rings = 12
    edges = np.geomspace(2 / min(height, width), 0.5, rings + 1)
    ring = np.digitize(radius.ravel(), edges) - 1
    inside = (ring >= 0) & (ring < rings)
    count = np.bincount(ring[inside], minlength=rings)
    total = np.bincount(ring[inside], power.ravel()[inside], minlength=rings)
    used = count > 0
    centres = np.log(np.sqrt(edges[:-1] * edges[1:]))[used]
    return float(np.polyfit(centres, np.log(total[used] / count[used] + EPSILON), 1)[0])


def _luminance(values: NDArray[np.float32], bands: tuple[str, ...]) -> NDArray[np.float32]:
    if set(REC_601) <= set(bands):
        weights = np.asarray([REC_601.get(band, 0.0) for band in bands], np.float32)
    else:
        weights = np.full(len(bands), 1 / len(bands), np.float32)
    return np.ascontiguousarray(values @ weights)


def _saturated_fraction(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    # floating-point scenes have no largest value at which a sensor saturates
    if not np.issubdtype(pixels.dtype, np.integer):
        return 0.0
    full = (pixels == np.iinfo(pixels.dtype).max).any(axis=2)
    return float(full[valid].mean())


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


def _band_contrast(inside: NDArray[np.float32], bands: tuple[str, ...]) -> float:
    mean = dict(zip(bands, inside.mean(axis=0, dtype=np.float64), strict=True))
    kind = ratio_name(bands)
    if kind == "ndvi":
        first, second = mean["nir"], mean["red"]
    elif kind == "excess_green":
        first, second = 2 * mean["green"], mean["red"] + mean["blue"]
        return float((first - second) / max(abs(mean["red"] + mean["green"] + mean["blue"]), EPSILON))
    else:
        first, second = mean[bands[0]], mean[bands[-1]]
    return float((first - second) / max(abs(first + second), EPSILON))
