"""Predict the test windows of a patch set in batches and count pixels by spatial block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.evaluation.scores import Confusion, confusion, window_iou
from satseg.evaluation.windows import Batch, HeldOut, WindowReader
from satseg.models.interface import Segmenter, class_ids
from satseg.progress import progress_bar

Predict = Callable[[NDArray[Any]], NDArray[np.uint8]]


@dataclass(frozen=True, order=True)
class BlockKey:
    """One spatial block of the test split."""

    scene: str
    block: str
    reference: bool


@dataclass
class Measurement:
    """What was counted: a confusion matrix for each block, and an IoU for each window (to choose pictures)."""

    classes: tuple[str, ...]
    blocks: dict[BlockKey, Confusion] = field(default_factory=dict)
    window_iou: dict[int, float] = field(default_factory=dict)

    def total(self, keep: Callable[[BlockKey], bool] = lambda key: True) -> Confusion:
        """Return the sum over the blocks for which `keep` holds, (K + 1, K + 1) int64."""
        size = len(self.classes) + 1
        chosen = [matrix for key, matrix in self.blocks.items() if keep(key)]
        return np.sum(chosen, axis=0, dtype=np.int64) if chosen else np.zeros((size, size), np.int64)

    def add(self, window: HeldOut, matrix: Confusion) -> None:
        """Count one window."""
        key = BlockKey(window.scene, window.block, window.reference)
        self.blocks[key] = self.blocks[key] + matrix if key in self.blocks else matrix
        self.window_iou[window.number] = window_iou(matrix)


def predict_classes(segmenter: Segmenter, images: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    """Return class ids (N, H, W) uint8 for raw images (N, H, W, C).

    Raises:
        BadDataError: the model gives another shape, or values that are not finite.
    """
    probabilities = segmenter.predict(images)
    expected = (*images.shape[:3], segmenter.description.channels)
    if probabilities.shape != expected:
        raise BadDataError(f"The model returned shape {probabilities.shape} instead of {expected}.")
    if not np.isfinite(probabilities).all():
        raise BadDataError("The model returned NaN or infinite probabilities; its training diverged. Train it again.")
    return class_ids(probabilities, threshold)


def batches(windows: Sequence[HeldOut], size: int) -> Iterator[list[HeldOut]]:
    """Group windows by scene, in order of scenes, and cut the groups into at most `size` windows."""
    for _, group in groupby(sorted(windows, key=lambda window: (window.scene, window.number)), lambda w: w.scene):
        of_scene = list(group)
        for start in range(0, len(of_scene), size):
            yield of_scene[start : start + size]


def measure(
    measurement: Measurement,
    predict: Predict,
    reader: WindowReader,
    windows: Sequence[HeldOut],
    *,
    batch_size: int,
    on_batch: Callable[[Batch, NDArray[np.uint8]], None] = lambda batch, predicted: None,
) -> None:
    """Predict every window, scene by scene, and add its pixels to the measurement.

    `predict` turns raw images (N, H, W, C) into class ids (N, H, W) uint8; `on_batch` is called with each
    batch and its class ids once it is counted.
    """
    classes = len(measurement.classes)
    with progress_bar("evaluating test windows", len(windows)) as advance:
        for chosen in batches(windows, batch_size):
            batch = reader.read(chosen)
            predicted = predict(batch.images)
            for position, window in enumerate(chosen):
                matrix = confusion(batch.labels[position], predicted[position], classes, batch.valid[position])
                measurement.add(window, matrix)
            on_batch(batch, predicted)
            advance(len(chosen))
