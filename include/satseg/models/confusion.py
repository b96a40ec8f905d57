"""Scores from a confusion matrix summed over a whole split; batches are never averaged."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ClassMetrics(NamedTuple):
    """Scores of one class; 0 where there is nothing to divide by."""

    iou: float
    dice: float
    precision: float
    recall: float


def _counts(confusion: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    # background (class 0) has no score of its own
    hits = np.diag(confusion)[1:]
    return hits, confusion.sum(axis=1)[1:], confusion.sum(axis=0)[1:]


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def class_metrics(confusion: NDArray[np.int64]) -> tuple[ClassMetrics, ...]:
    """Return IoU, Dice, precision and recall of each class, without background.

    Args:
        confusion: (C, C) pixels by true (row) and predicted (column) class, background first.
    """
    hits, true, predicted = _counts(confusion)
    columns = (
        _ratio(hits, true + predicted - hits),
        _ratio(2 * hits, true + predicted),
        _ratio(hits, predicted),
        _ratio(hits, true),
    )
    return tuple(ClassMetrics(*map(float, row)) for row in zip(*columns, strict=True))


def mean_metrics(confusion: NDArray[np.int64]) -> ClassMetrics:
    """Return the scores averaged over the classes that occur in truth or prediction, 0 when none does."""
    _, true, predicted = _counts(confusion)
    seen = true + predicted > 0
    if not seen.any():
        return ClassMetrics(0.0, 0.0, 0.0, 0.0)
    return ClassMetrics(*map(float, np.array(class_metrics(confusion))[seen].mean(axis=0)))


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the IoU of `mean_metrics`."""
    return mean_metrics(confusion).iou


def mean_dice(confusion: NDArray[np.int64]) -> float:
    """Return the Dice coefficient of `mean_metrics`."""
    return mean_metrics(confusion).dice
