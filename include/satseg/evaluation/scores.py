"""Pixel scores from confusion matrices that were summed over pixels; windows and scenes are never averaged."""

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.stages import Scores

Confusion = NDArray[np.int64]


def confusion(
    labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, valid: NDArray[np.bool_] | None = None
) -> Confusion:
    """Count pixels by label and predicted class.

    Args:
        labels: class ids 0..classes, any shape.
        predicted: class ids of the same shape.
        classes: number of classes without the background.
        valid: pixels that count, of the same shape; None counts all.

    Returns:
        (classes + 1, classes + 1) int64, rows are labels, columns predictions, row and column 0 the background.

    Raises:
        BadDataError: the shapes differ, or an id is larger than `classes`.
    """
    if labels.shape != predicted.shape or (valid is not None and valid.shape != labels.shape):
        raise BadDataError(
            f"Labels {labels.shape} and predictions {predicted.shape} differ in shape; the model's output "
            "must be as high and wide as its input."
        )
    if valid is not None:
        labels, predicted = labels[valid], predicted[valid]
    highest = max(int(labels.max(initial=0)), int(predicted.max(initial=0)))
    if highest > classes:
        raise BadDataError(
            f"Class id {highest} is larger than the {classes} classes of the patch set; "
            "patch set and model do not belong together."
        )
    size = classes + 1
    flat = labels.ravel().astype(np.int64) * size + predicted.ravel()
    return np.bincount(flat, minlength=size * size).astype(np.int64).reshape(size, size)


def _ratio(part: int, whole: int, otherwise: float) -> float:
    return part / whole if whole else otherwise


def class_scores(matrix: Confusion, class_id: int) -> Scores:
    """Return the scores of one class.

    Where a ratio is 0/0 it is 1 when the class is neither labelled nor predicted (nothing to find, nothing
    found) and 0 otherwise.
    """
    pixels = int(matrix.sum())
    hit = int(matrix[class_id, class_id])
    labelled, predicted = int(matrix[class_id].sum()), int(matrix[:, class_id].sum())
    nothing = 1.0 if labelled == predicted == 0 else 0.0
    return Scores(
        iou=_ratio(hit, labelled + predicted - hit, nothing),
        dice=_ratio(2 * hit, labelled + predicted, nothing),
        precision=_ratio(hit, predicted, nothing),
        recall=_ratio(hit, labelled, nothing),
        iou_all_positive=_ratio(labelled, pixels, 0.0),
        pixels=pixels,
        labelled_pixels=labelled,
    )


def mean_scores(matrix: Confusion) -> Scores:
    """Return the mean over the classes that are labelled or predicted somewhere; the background is not a class.

    A class that occurs in neither says nothing about the model: counting it as right would raise the mean.
    """
    every = [class_scores(matrix, class_id) for class_id in range(1, len(matrix))]
    seen = [
        scores for class_id, scores in enumerate(every, start=1) if matrix[class_id].any() or matrix[:, class_id].any()
    ]
    chosen = seen or every
    means = {
        name: float(np.mean([getattr(scores, name) for scores in chosen]))
        for name in ("iou", "dice", "precision", "recall", "iou_all_positive")
    }
    return Scores(**means, pixels=int(matrix.sum()), labelled_pixels=int(matrix[1:].sum()))


def window_iou(matrix: Confusion) -> float:
    """Return the part of a window's labelled or predicted pixels that have the right class; 1 when there are none.

    Only for choosing sample pictures.
    """
    foreground = int(matrix.sum() - matrix[0, 0])
    return _ratio(int(np.trace(matrix) - matrix[0, 0]), foreground, 1.0)
