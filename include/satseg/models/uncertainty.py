"""How unsure a model is of a window."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Uncertainty = Literal["entropy", "margin"]
_LEAST = 1e-7


def pixel_entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy of (..., K) probabilities as a part of the largest possible: (...,) in 0..1."""
    chances = _all_classes(probabilities)
    entropy = -(chances * np.log(np.maximum(chances, _LEAST))).sum(axis=-1)
    relative: NDArray[np.float32] = (entropy / np.log(chances.shape[-1])).astype(np.float32)
    return relative


def pixel_margin(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 − (best − second best) of (..., K) probabilities: (...,) in 0..1."""
    best = np.partition(_all_classes(probabilities), -2, axis=-1)[..., -2:]
    return (1.0 - (best[..., 1] - best[..., 0])).astype(np.float32)


def window_uncertainty(
    probabilities: NDArray[np.float32], valid: NDArray[np.bool_], kind: Uncertainty = "entropy"
) -> float:
    """Return the mean uncertainty of the pixels with data; 0 where there are none.

    Args:
        probabilities: (H, W, K).
        valid: (H, W).
        kind: what is averaged.
    """
    if not valid.any():
        return 0.0
    of_pixels = pixel_entropy if kind == "entropy" else pixel_margin
    return float(of_pixels(probabilities)[valid].mean())


def _all_classes(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities with the background where a model of one class leaves it out."""
    chances = np.clip(probabilities, 0.0, 1.0)
    return np.concatenate([1 - chances, chances], axis=-1) if chances.shape[-1] == 1 else chances
