"""Do probabilities mean what they say, and which threshold would have been best."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.evaluation.intervals import Counts
from satseg.evaluation.tally import SWEEP_LEVELS

PIXELS, PROBABILITY, LABELLED = range(3)


class Threshold(NamedTuple):
    """A threshold of a one-class map and the IoU it gives on the validation split."""

    threshold: float
    iou: float


def class_probabilities(probabilities: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """Return the probability of each class, (..., classes), without the background that softmax models give first."""
    return probabilities[..., -classes:]


def count_reliability(
    target: NDArray[np.float64],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    blocks: NDArray[np.int32],
) -> None:
    """Add N pixels to `target` (B, K, bins, 3): pixels, sum of probabilities, pixels labelled so.

    Args:
        target: what is counted so far, by block, class and bin of the probability; bins have equal width.
        probabilities: (N, K) of each class.
        labels: (N,) class ids.
        blocks: (N,) block numbers.
    """
    count, classes, bins = target.shape[:3]
    for number in range(classes):
        of_class = probabilities[:, number]
        places = blocks.astype(np.int64) * bins + np.minimum((of_class * bins).astype(np.int64), bins - 1)
        for entry, weights in ((PIXELS, None), (PROBABILITY, of_class), (LABELLED, labels == number + 1)):
            added = np.bincount(places, weights, minlength=count * bins)
            target[:, number, :, entry] += added.reshape(count, bins)


def calibration_error(reliability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected calibration error of each class from (..., K, bins, 3), (..., K); NaN without pixels.

    The mean distance between probability and frequency over the pixels, in bins of the probability (Naeini, Cooper and
    Hauskrecht 2015), for each class by itself (Nixon et al. 2019).
    """
    return _error(gaps(reliability))


def gaps(reliability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., K, bins + 1): labelled minus expected pixels in each bin, and all pixels.

    All that the error depends on, in a form that can be summed over blocks.
    """
    gap = reliability[..., LABELLED] - reliability[..., PROBABILITY]
    return np.concatenate([gap, reliability[..., PIXELS].sum(axis=-1, keepdims=True)], axis=-1)


def mean_error(totals: Counts) -> NDArray[np.float64]:
    """Return the mean of the classes' calibration errors for summed `gaps` (m, K, bins + 1), (m,)."""
    means: NDArray[np.float64] = _error(totals).mean(axis=-1)
    return means


def _error(totals: Counts) -> NDArray[np.float64]:
    pixels = totals[..., -1]
    distance = np.abs(totals[..., :-1]).sum(axis=-1)
    found: NDArray[np.float64] = np.divide(distance, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0)
    return found


def count_levels(target: NDArray[np.int64], probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> None:
    """Add N pixels to `target` (SWEEP_LEVELS + 1, 2): by probability (N,) in hundredths, rounded down, and label."""
    levels = np.floor(probabilities * SWEEP_LEVELS).astype(np.int64)
    places = levels * 2 + (labels > 0)
    target += np.bincount(places, minlength=target.size).reshape(target.shape)


def threshold_sweep(levels: NDArray[np.int64]) -> list[Threshold]:
    """Return the IoU at each threshold 0.01, 0.02, … 0.99 from counted levels; nothing without labelled pixels."""
    from_here_up = levels[::-1].cumsum(axis=0)[::-1]
    labelled = int(levels[:, 1].sum())
    if not labelled:
        return []
    chosen = range(1, SWEEP_LEVELS)
    return [
        Threshold(level / SWEEP_LEVELS, float(from_here_up[level, 1] / (labelled + from_here_up[level, 0])))
        for level in chosen
    ]


def best_threshold(sweep: list[Threshold]) -> Threshold | None:
    """Return the threshold of the highest IoU, of equals the nearest to 0.5; None without a sweep."""
    return max(sweep, key=lambda one: (one.iou, -abs(one.threshold - 0.5)), default=None)
