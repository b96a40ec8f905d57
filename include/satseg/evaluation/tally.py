"""Everything counted of a model, block by block, as arrays whose rows are blocks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.evaluation.intervals import FN, FP, TN, TP
from satseg.evaluation.windows import HeldOut

_PLACE = re.compile(r"(\d+)-(\d+)$")
SIZE_BINS = ("small", "medium", "large")
SWEEP_LEVELS = 100  # thresholds 0.01, 0.02, …


class Scored(NamedTuple):
    """Rows of held-out ground with what was predicted there, arrays (rows, W).

    Attributes:
        labels: class ids, 0 where unknown.
        predicted: class ids, 0 where unknown.
        known: pixels that are scored.
        blocks: number of each pixel's block; any number where unknown.
    """

    labels: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    known: NDArray[np.bool_]
    blocks: NDArray[np.int32]

    def rows(self, start: int, stop: int) -> "Scored":
        """Return some of the rows."""
        chosen = slice(start, stop)
        return Scored(self.labels[chosen], self.predicted[chosen], self.known[chosen], self.blocks[chosen])

    @classmethod
    def join(cls, above: "Scored", below: "Scored") -> "Scored":
        """Put rows below each other."""
        return cls(
            np.concatenate([above.labels, below.labels]),
            np.concatenate([above.predicted, below.predicted]),
            np.concatenate([above.known, below.known]),
            np.concatenate([above.blocks, below.blocks]),
        )


@dataclass(frozen=True, order=True)
class BlockKey:
    """One spatial block of the test split."""

    scene: str
    block: str
    reference: bool


def touching(keys: Sequence[BlockKey]) -> NDArray[np.intp]:
    """Return the positions of blocks that share an edge, (pairs, 2); blocks are named `<scene>/<row>-<column>`."""
    places = {}
    for number, key in enumerate(keys):
        if found := _PLACE.search(key.block):
            places[key.scene, int(found[1]), int(found[2])] = number
    pairs = [
        (number, other)
        for (scene, row, column), number in places.items()
        for beside in ((scene, row + 1, column), (scene, row, column + 1))
        if (other := places.get(beside)) is not None
    ]
    return np.array(pairs, np.intp).reshape(-1, 2)


def add_counts(target: NDArray[np.int64], numbers: NDArray[np.integer]) -> None:
    """Add 1 to `target` (N,) for each of `numbers`."""
    target += np.bincount(numbers, minlength=len(target)).astype(np.int64)


@dataclass
class Tally:
    """What was counted; B blocks, K classes without the background, entries TP, FP, FN, TN.

    Attributes:
        classes: names.
        keys: the blocks.
        confusion: (B, K + 1, K + 1), rows are labels, columns predictions, 0 the background.
        rims: (B, K, 4) pixels near the contours, TN is 0.
        objects: (B, K, 4) objects, TN is 0.
        sizes: (B, K, 3, 4) pixels of labelled objects by size of object, found (TP) and missed (FN).
        objects_by_size: (B, K, 3, 4) labelled objects by size, found and missed.
        reliability: (B, K, bins, 3) pixels, sum of probabilities, pixels labelled so, by probability.
        sweep: (SWEEP_LEVELS + 1, 2) pixels of the validation split by probability and label, of one-class models.
        window_hits: (N, 2) of each test window: pixels right and labelled or predicted; pixels labelled or predicted.
    """

    classes: tuple[str, ...]
    keys: tuple[BlockKey, ...]
    windows: int
    bins: int
    confusion: NDArray[np.int64] = field(init=False)
    rims: NDArray[np.int64] = field(init=False)
    objects: NDArray[np.int64] = field(init=False)
    sizes: NDArray[np.int64] = field(init=False)
    objects_by_size: NDArray[np.int64] = field(init=False)
    reliability: NDArray[np.float64] = field(init=False)
    sweep: NDArray[np.int64] = field(init=False)
    window_hits: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        blocks, classes = len(self.keys), len(self.classes)
        self.confusion = np.zeros((blocks, classes + 1, classes + 1), np.int64)
        self.rims, self.objects = (np.zeros((blocks, classes, 4), np.int64) for _ in range(2))
        self.sizes, self.objects_by_size = (np.zeros((blocks, classes, len(SIZE_BINS), 4), np.int64) for _ in range(2))
        self.reliability = np.zeros((blocks, classes, self.bins, 3))
        self.sweep = np.zeros((SWEEP_LEVELS + 1, 2), np.int64)
        self.window_hits = np.zeros((self.windows, 2), np.int64)

    @classmethod
    def of(cls, classes: tuple[str, ...], windows: Sequence[HeldOut], bins: int) -> "Tally":
        """Return an empty tally for test windows."""
        keys = tuple(sorted({BlockKey(window.scene, window.block, window.reference) for window in windows}))
        return cls(classes, keys, len(windows), bins)

    def block_numbers(self, windows: Sequence[HeldOut]) -> NDArray[np.int32]:
        """Return the number of each window's block; -1 for windows that are not test."""
        numbers = {(key.scene, key.block, key.reference): number for number, key in enumerate(self.keys)}
        keys = [(window.scene, window.block, window.reference) for window in windows]
        return np.array([numbers.get(key, -1) for key in keys], np.int32)

    def counts(self, blocks: NDArray[np.intp] | None = None) -> NDArray[np.int64]:
        """Return (B, K, 4) pixels from the confusion of each of some blocks, by default all."""
        confusion = self.confusion if blocks is None else self.confusion[blocks]
        pixels = confusion.sum(axis=(1, 2))[:, None]
        hit = np.diagonal(confusion, axis1=1, axis2=2)[:, 1:]
        labelled, predicted = confusion.sum(axis=2)[:, 1:], confusion.sum(axis=1)[:, 1:]
        counts = np.zeros((*hit.shape, 4), np.int64)
        counts[..., TP], counts[..., FP], counts[..., FN] = hit, predicted - hit, labelled - hit
        counts[..., TN] = pixels - counts.sum(axis=-1)
        return counts

    def where(self, keep: Callable[[BlockKey], bool]) -> NDArray[np.intp]:
        """Return the numbers of the blocks for which `keep` holds."""
        return np.array([number for number, key in enumerate(self.keys) if keep(key)], np.intp)

    def window_iou(self) -> dict[int, float]:
        """Return by window the part of its labelled or predicted pixels that are right; 1 when there are none."""
        right, there = self.window_hits.T
        return {number: float(right[number] / there[number]) if there[number] else 1.0 for number in range(len(there))}
