"""Simulated changes of light, air, optics and sensor, under which held-out ground is shown to a champion again."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_changes import Change, to_dtype
from satseg.drift.features import feature_names, ratio_name

_STRENGTHS = 3  # changes of each kind
_BOTH = 6  # changes of two kinds at once
UNCHANGED = "none"
KINDS = ("gain", "haze", "blur", "noise", "contrast", "colour", "resolution")
LOGARITHMIC = ("gradient_mean", "laplacian_variance", "noise_level")
LINEAR = ("luminance_p05", "luminance_p50", "luminance_p95", "spectral_slope")


@dataclass(frozen=True)
class Simulated:
    """A change; the kinds and strengths in 0..1 it is made of."""

    kind: str
    parts: tuple[tuple[str, float], ...]

    def apply(self, pixels: NDArray[Any], full_scale: float, seed: int) -> NDArray[Any]:
        """Return changed pixels (H, W, C) of the same dtype; nodata must be kept by the caller."""
        changed = pixels.astype(np.float32)
        for kind, strength in self.parts:
            changed = _apply(changed, kind, strength, full_scale, np.random.default_rng([seed, KINDS.index(kind)]))
        return to_dtype(changed, pixels.dtype.name)


def simulated_changes(seed: int = 0) -> list[Simulated]:
    """Return no change, each kind in several strengths, and some of two kinds at once."""
    rng = np.random.default_rng(seed)
    found = [Simulated(UNCHANGED, ())]
    for kind in KINDS:
        strengths = (np.arange(_STRENGTHS) + rng.uniform(0, 1, _STRENGTHS)) / _STRENGTHS
        found += [Simulated(kind, ((kind, float(strength)),)) for strength in strengths]
    for _ in range(_BOTH):
        one, other = rng.choice(len(KINDS), 2, replace=False)
        parts = tuple((KINDS[place], float(rng.uniform(0.1, 0.7))) for place in sorted((one, other)))
        found.append(Simulated("two", parts))
    return found


def picture_statistics(features: NDArray[np.floating], bands: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the mean of those features of patches (N, F) that speak of how a picture was taken."""
    names = feature_names(bands)
    chosen = [*LINEAR, *([ratio_name(bands)] if len(bands) > 1 else [])]
    plain = np.asarray(features, np.float64).mean(axis=0)
    steep = np.log(np.maximum(np.asarray(features, np.float64), 1e-3)).mean(axis=0)
    return np.array([*(plain[names.index(name)] for name in chosen), *(steep[names.index(one)] for one in LOGARITHMIC)])


def full_scale_of(dtype: str, largest: float) -> float:
    """Return the brightest value of a sensor: the type's for 8 bits, else what the scenes reach."""
    return 255.0 if dtype == "uint8" else largest


def _apply(
    pixels: NDArray[np.float32], kind: str, strength: float, full_scale: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    either_way = 2 * strength - 1
    if kind in {"gain", "haze", "blur", "noise"}:
        change = {
            "gain": Change(gain=float(np.exp(either_way * np.log(1.35)))),
            "haze": Change(haze=0.4 * strength),
            "blur": Change(blur_px=0.3 + 2.2 * strength),
            "noise": Change(noise_dn=0.05 * strength * full_scale),
        }[kind]
        return change.apply(pixels, full_scale, rng)
    if kind == "contrast":
        middle = pixels.mean(axis=(0, 1), keepdims=True)
        stretched: NDArray[np.float32] = middle + (pixels - middle) * np.float32(np.exp(either_way * np.log(1.5)))
        return stretched
    if kind == "colour":
        tilt = strength * np.log(1.25) * rng.uniform(-1, 1, pixels.shape[2])
        tinted: NDArray[np.float32] = pixels * np.exp(tilt - tilt.mean()).astype(np.float32)
        return tinted
    return _coarser(pixels, 1 + 2 * strength)


def _coarser(pixels: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    height, width, bands = pixels.shape
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = [
        cv2.resize(np.ascontiguousarray(pixels[..., i]), small, interpolation=cv2.INTER_AREA) for i in range(bands)
    ]
    grown = [cv2.resize(band, (width, height), interpolation=cv2.INTER_LINEAR) for band in shrunk]
    return np.stack(grown, axis=-1).astype(np.float32, copy=False)
