"""What a shift of a feature means, in words."""

import numpy as np
from numpy.typing import NDArray

NEGLIGIBLE_SHIFT = 0.1
NEGLIGIBLE_DISTANCE = 0.1
_DIRECTIONS = {
    "mean": ("brighter", "darker"),
    "share": ("larger share", "smaller share"),
    "std": ("more contrast", "less contrast"),
    "luminance_p05": ("lighter shadows", "darker shadows"),
    "luminance_p50": ("brighter in the middle", "darker in the middle"),
    "luminance_p95": ("brighter highlights", "duller highlights"),
    "luminance_skewness": ("fewer bright spots on more dark", "fewer dark spots on more bright"),
    "saturated_fraction": ("more saturated pixels", "fewer saturated pixels"),
    "gradient_mean": ("stronger edges", "weaker edges"),
    "laplacian_variance": ("sharper or noisier", "blurrier"),
    "noise_level": ("noisier", "smoother"),
    "spectral_entropy": ("more even spectrum", "spectrum of fewer waves"),
    "spectral_slope": ("more fine detail or noise", "less fine detail"),
    "excess_green": ("greener", "less green"),
    "ndvi": ("more vegetation", "less vegetation"),
    "band_ratio": ("first band stronger against the last", "first band weaker against the last"),
}


def shift_in_iqr(reference: NDArray[np.floating], night: NDArray[np.floating]) -> float:
    """Return the difference of medians in units of the reference's interquartile range.

    Where more than half of the reference is one value (saturation mostly is), means and the standard deviation of
    both together stand in.
    """
    low, middle, high = np.percentile(reference, (25, 50, 75))
    if high > low:
        return float((np.median(night) - middle) / (high - low))
    scale = float(np.std(np.concatenate([reference, night]), dtype=np.float64))
    return (
        float((np.mean(night, dtype=np.float64) - np.mean(reference, dtype=np.float64)) / scale) if scale > 0 else 0.0
    )


def change_in_words(feature: str, shift: float, distance: float) -> str:
    """Say what moved and how far, for example 'brighter in red by 0.8 IQR'."""
    if abs(shift) < NEGLIGIBLE_SHIFT:
        return (
            "unchanged" if distance < NEGLIGIBLE_DISTANCE else f"{feature.replace('_', ' ')}: same middle, other spread"
        )
    kind, _, band = feature.partition("_")
    if kind in {"mean", "std", "share"}:
        up, down = _DIRECTIONS[kind]
        where = f" in {band}"
    else:
        up, down = _DIRECTIONS.get(feature, ("higher", "lower"))
        where = ""
    return f"{up if shift > 0 else down}{where} by {abs(shift):.1f} IQR"


def together_in_words(features: list[str], parts: NDArray[np.float64], distance: float) -> str:
    """Name the features that make up most of the distance of all together."""
    if distance < NEGLIGIBLE_DISTANCE:
        return "unchanged"
    leading = [features[index] for index in np.argsort(-parts)[:3] if parts[index] > 0]
    return f"another combination, most of all of {', '.join(name.replace('_', ' ') for name in leading)}"
