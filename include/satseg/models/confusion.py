"""Scores from a confusion matrix summed over a whole split; batches are never averaged."""

import numpy as np
from numpy.typing import NDArray


def _counts(confusion: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    # background (class 0) has no score of its own
    hits = np.diag(confusion)[1:]
    return hits, confusion.sum(axis=1)[1:], confusion.sum(axis=0)[1:]


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the IoU averaged over the classes that occur in truth or prediction, 0 when none does.

    Args:
        confusion: (C, C) pixels by true (row) and predicted (column) class, background first.
    """
    hits, true, predicted = _counts(confusion)
    union = true + predicted - hits
    seen = union > 0
    return float((hits[seen] / union[seen]).mean()) if seen.any() else 0.0


def mean_dice(confusion: NDArray[np.int64]) -> float:
    """Return the Dice coefficient averaged over the classes that occur, 0 when none does; see `mean_iou`."""
    hits, true, predicted = _counts(confusion)
    seen = true + predicted > 0
    return float((2 * hits[seen] / (true + predicted)[seen]).mean()) if seen.any() else 0.0
