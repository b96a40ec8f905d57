"""Pixel scores from confusion matrices that were summed over pixels; windows and scenes are never averaged."""

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.stages import Scores

Confusion = NDArray[np.int64]


def confusion(
    labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, groups: NDArray[np.int32], count: int
) -> Confusion:
    """Count pixels by group, label and predicted class.

    Args:
        labels: (N,) class ids 0..classes.
        predicted: (N,) class ids.
        classes: number of classes without the background.
        groups: (N,) group of each pixel, 0..count - 1.
        count: number of groups.

    Returns:
        (count, classes + 1, classes + 1) int64, rows are labels, columns predictions, the first of each the background.

    Raises:
        BadDataError: an id is larger than `classes`.
    """
    highest = max(int(labels.max(initial=0)), int(predicted.max(initial=0)))
    if highest > classes:
        raise BadDataError(
            f"Class id {highest} is larger than the {classes} classes of the patch set; "
            "patch set and model do not belong together."
        )
    size = classes + 1
    places = (groups.astype(np.int64) * size + labels) * size + predicted
    return np.bincount(places, minlength=count * size * size).astype(np.int64).reshape(count, size, size)


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
        predicted_pixels=predicted,
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
    pixels = {"labelled_pixels": int(matrix[1:].sum()), "predicted_pixels": int(matrix[:, 1:].sum())}
    return Scores(**means, pixels=int(matrix.sum()), **pixels)
