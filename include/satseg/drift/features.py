"""Numbers that describe one patch: brightness, contrast, saturation, sharpness, texture and colour."""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

REC_601 = {"red": 0.299, "green": 0.587, "blue": 0.114}
EPSILON = 1e-6
RINGS = 12
LUMINANCE = ("luminance_p05", "luminance_p50", "luminance_p95", "luminance_skewness", "saturated_fraction")
TEXTURE = ("gradient_mean", "laplacian_variance", "noise_level", "spectral_slope", "spectral_entropy")
# second differences in both directions: planes and straight edges cancel, noise does not
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_SCALE = 6 * 0.6745  # root of the sum of squares of the kernel; median of |N(0, 1)|
LEAST_NOISE = 0.01
FeatureKind = Literal["radiometric", "texture"]


def feature_names(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the features in the order in which `patch_features` gives them."""
    per_band = [f"{kind}_{band}" for band in bands for kind in ("mean", "std")]
    colour = (ratio_name(bands), *(f"share_{band}" for band in bands)) if len(bands) > 1 else ()
    return (*per_band, *LUMINANCE, *TEXTURE, *colour)


def kind_of(feature: str) -> FeatureKind:
    """Return what a change of a feature speaks of: light and colour, or sharpness, noise and resolution."""
    return "texture" if feature in TEXTURE else "radiometric"


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
    seen = luminance[lit]
    low, middle, high = np.percentile(seen, (5, 50, 95))
    # nodata becomes the patch's mean so that its border makes no edge of its own brightness
    filled = np.where(lit, luminance, seen.mean()).astype(np.float32).reshape(valid.shape)
    means = inside.mean(axis=1, dtype=np.float64)
    deviations = np.sqrt(((inside - means[:, None].astype(np.float32)) ** 2).mean(axis=1, dtype=np.float64))
    described = [
        *np.stack([means, deviations], axis=1).ravel(),
        low,
        middle,
        high,
        _skewness(seen),
        _saturated_fraction(inside, pixels.dtype),
        *_sharpness(filled, valid, float(high)),
        *spectrum(filled),
    ]
    if len(bands) > 1:
        described.append(_band_contrast(dict(zip(bands, means.tolist(), strict=True))))
        described.extend(means / max(abs(float(means.sum())), EPSILON))
    return np.asarray(described, np.float32)


def spectrum(luminance: NDArray[np.float32]) -> tuple[float, float]:
    """Return slope and entropy of the power spectrum of an (H, W) patch.

    Slope of log power over log frequency: natural images have about -2 to -3; blur makes it steeper (more negative),
    noise flatter. Entropy of the power as a share of its maximum: 0 one wave, 1 white noise. A constant patch has 0
    for both.
    Source: van der Schaaf & van Hateren, "Modelling the power spectra of natural images", Vision Research 36 (1996).
    """
    from scipy import fft

    centred = luminance - luminance.mean()
    if np.abs(centred).max() <= EPSILON * np.abs(luminance).max():
        return 0.0, 0.0
    window, ring, count, weights = _rings(*luminance.shape)
    power = np.abs(fft.rfft2(centred * window)) ** 2
    total = np.bincount(ring, power.ravel(), minlength=count.size + 1)[:-1]
    # relative to the largest, so that the unit of the pixels does not matter; the floor is that of float32
    mean = total / count
    share = power.ravel() / max(float(power.sum()), EPSILON**4)
    entropy = -float(share @ np.log(share + EPSILON**4)) / np.log(share.size)
    return float(weights @ np.log(mean / mean.max() + EPSILON**2)), entropy


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


def _skewness(luminance: NDArray[np.float32]) -> float:
    centred = luminance - luminance.mean(dtype=np.float64)
    squares = centred * centred
    deviation = float(np.sqrt(squares.mean()))
    if deviation <= EPSILON * float(np.abs(luminance).max()):
        return 0.0
    # numpy's cube is a power of any exponent, ten times as long
    return float((squares * centred).mean()) / deviation**3


def _sharpness(luminance: NDArray[np.float32], valid: NDArray[np.bool_], bright: float) -> tuple[float, float, float]:
    """Return mean gradient, variance of the Laplacian, and the noise's standard deviation.

    Noise below 1 % of the `bright` end is all the same: nobody sees it, and smooth scenes would show every grain.

    Source of the noise estimate: Immerkaer, "Fast noise variance estimation", CVIU 64 (1996), with the median instead
    of the mean so that corners of roofs do not count as noise.
    """
    import cv2

    # differences across the border of nodata are not edges of the ground
    core = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    if not core.any():
        return 0.0, 0.0, 0.0
    across = cv2.Sobel(luminance, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(luminance, cv2.CV_32F, 0, 1, scale=1 / 8)
    curvature = cv2.Laplacian(luminance, cv2.CV_32F)
    noise = np.abs(cv2.filter2D(luminance, cv2.CV_32F, _NOISE_KERNEL))[core]
    return (
        float(np.hypot(across, down)[core].mean()),
        float(curvature[core].var(dtype=np.float64)),
        max(float(np.median(noise)) / _NOISE_SCALE, LEAST_NOISE * abs(bright)),
    )


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
