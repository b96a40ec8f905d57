"""Measure an exported model beside the original on the test windows of the patch set it was trained on."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.models.interface import Segmenter, class_ids
from satseg.patches.patchset import PatchSet
from satseg.progress import progress_bar
from satseg.serving.calibration import pixels_and_labels

TIMED_ROUNDS = 9


def counts(labels: NDArray[np.uint8], ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count pixels by label (row) and predicted class (column): (classes + 1, classes + 1)."""
    size = classes + 1
    known = labels < size  # others are ignored in training and scoring too
    flat = labels[known].astype(np.int64) * size + ids[known]
    return np.bincount(flat, minlength=size * size).astype(np.int64).reshape(size, size)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean IoU over the classes that are labelled or predicted somewhere; 1 when there are none."""
    hits, labelled, predicted = np.diag(matrix)[1:], matrix.sum(axis=1)[1:], matrix.sum(axis=0)[1:]
    union = labelled + predicted - hits
    return float((hits[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 1.0


@dataclass
class Differences:
    """What two models say about the same windows, added up."""

    classes: int
    pixels: int = 0
    largest: float = 0.0
    total: float = 0.0
    values: int = 0
    flipped: int = 0
    original: NDArray[np.int64] = field(init=False)
    exported: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        size = self.classes + 1
        self.original, self.exported = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)

    def add(
        self,
        first: NDArray[np.float32],
        second: NDArray[np.float32],
        labels: NDArray[np.uint8],
        threshold: float,
    ) -> None:
        """Count a batch: probabilities (N, H, W, K) of the original and the exported model, labels (N, H, W)."""
        gap = np.abs(first - second)
        # NaN must not disappear in a maximum
        self.largest = float(np.maximum(self.largest, gap.max(initial=0.0)))
        self.total, self.values = self.total + float(gap.sum(dtype=np.float64)), self.values + gap.size
        ids, other = class_ids(first, threshold), class_ids(second, threshold)
        self.flipped += int((ids != other).sum())
        self.pixels += ids.size
        self.original += counts(labels, ids, self.classes)
        self.exported += counts(labels, other, self.classes)


def compare(
    original: Segmenter, exported: Segmenter, patch_set: PatchSet, rows: pd.DataFrame, *, threshold: float, batch: int
) -> Differences:
    """Predict windows (rows of the manifest) with both models and add up how they differ.

    Labels are those of the patch set; unlike in an evaluation pixels count as often as windows hold them, for both
    models alike.
    """
    found = Differences(len(patch_set.classes))
    with progress_bar("parity, test windows", len(rows)) as advance:
        for start in range(0, len(rows), batch):
            images, labels = pixels_and_labels(patch_set, rows.iloc[start : start + batch])
            found.add(original.predict(images), exported.predict(images), labels, threshold)
            advance(len(images))
    return found


class Pace(NamedTuple):
    """How long a window takes two models, and how many times faster the second is; the names are the report's."""

    latency_original_ms: float
    latency_ms: float
    speedup: float


def pace(original: Segmenter, exported: Segmenter, images: NDArray[Any]) -> Pace:
    """Time both models on the same batch in turn, so that a busy machine hinders both alike; medians of the rounds."""

    def seconds(predict: Callable[[NDArray[Any]], Any]) -> float:
        started = time.perf_counter()
        predict(images)
        return (time.perf_counter() - started) / len(images)

    for segmenter in (original, exported):
        segmenter.predict(images)  # the first call plans the work
    times = 1000 * np.asarray([(seconds(original.predict), seconds(exported.predict)) for _ in range(TIMED_ROUNDS)])
    medians = np.median(times, axis=0)
    return Pace(float(medians[0]), float(medians[1]), float(np.median(times[:, 0] / times[:, 1])))


def processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0))
