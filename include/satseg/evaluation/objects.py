"""Objects found, missed and invented: connected components of label and prediction, matched while rows pass by.

An object of the label is found when an object of the prediction has an IoU above 0.5 with it; such a partner is the
only one there can be (Kirillov et al. 2019, "Panoptic Segmentation"). Components are 4-connected and traced along pixel
edges, as the polygons of a map are, so the IoU of two components is that of their polygons before simplification.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from satseg.evaluation.intervals import FN, FP, TP
from satseg.evaluation.tally import Scored, Tally

LEAST_IOU = 0.5


@dataclass(eq=False)
class _Object:
    """A component, growing while rows touch it.

    Attributes:
        class_id: its class.
        first: place of its first pixel, counted row by row.
        block: number of the block of that pixel.
        pixels: its size.
        right: pixels whose label and prediction agree.
        shared: pixels in common with objects of the prediction; only objects of the label know.
        matched: whether it has found its partner.
        merged_into: the object it became part of.
    """

    class_id: int
    first: int
    block: int
    pixels: int
    right: int = 0
    shared: "dict[_Object, int]" = field(default_factory=dict)
    matched: bool = False
    merged_into: "_Object | None" = None

    def root(self) -> "_Object":
        found = self
        while found.merged_into is not None:
            found = found.merged_into
        return found

    def merge(self, other: "_Object") -> None:
        """Take over an object that turned out to be the same one."""
        self.first, self.block = min((self.first, self.block), (other.first, other.block))
        self.pixels += other.pixels
        self.right += other.right
        for partner, pixels in other.shared.items():
            self.shared[partner] = self.shared.get(partner, 0) + pixels
        other.merged_into, other.shared = self, {}

    def partners(self) -> "dict[_Object, int]":
        """Return the pixels shared with each object of the prediction as it is now."""
        found: dict[_Object, int] = {}
        for partner, pixels in self.shared.items():
            found[partner.root()] = found.get(partner.root(), 0) + pixels
        self.shared = found
        return found


@dataclass
class _Side:
    """The objects of the label, or of the prediction, that are not counted yet."""

    border: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    border_objects: list[_Object] = field(default_factory=list)
    pending: set[_Object] = field(default_factory=set)
    seen: int = 0  # pixels of the rows that have passed

    def take(self, ids: NDArray[np.uint8], blocks: NDArray[np.int32]) -> tuple[NDArray[np.int32], list[_Object]]:
        """Find the components of new rows and join them to those above; returns their numbers (rows, W) from 1."""
        numbers, objects = _components(ids, blocks, self.seen)
        self.seen += ids.size
        if self.border.size:
            both = (self.border > 0) & (numbers[0] > 0)
            for above, below in np.unique(np.stack([self.border[both], numbers[0][both]]), axis=1).T.tolist():
                one, other = self.border_objects[above - 1].root(), objects[below - 1].root()
                if one.class_id == other.class_id and one is not other:
                    one.merge(other)
        self.border, self.border_objects = numbers[-1].copy(), objects
        self.pending = {one.root() for one in self.pending} | {one.root() for one in objects}
        return numbers, objects

    def open(self) -> set[_Object]:
        """Return the objects that may go on in the next row."""
        return {self.border_objects[number - 1].root() for number in np.unique(self.border[self.border > 0]).tolist()}


class ObjectCounter:
    """Counts objects of each block and class into a tally.

    An object belongs to the block of its first pixel. Objects of fewer than `least_pixels` are left out on both sides,
    as they are of a map; of small objects of the label only the pixels found and missed are counted.

    Give it rows from top to bottom, then call `finish`; it holds one row and the objects that reach it.
    """

    def __init__(self, tally: Tally, least_pixels: int, size_edges_px: tuple[float, float]) -> None:
        self._tally, self._least, self._edges = tally, least_pixels, size_edges_px
        self._truth, self._guess = _Side(), _Side()

    def add(self, rows: Scored) -> None:
        """Take more rows and count the objects that end in them."""
        truth, true_objects = self._truth.take(rows.labels, rows.blocks)
        guess, guessed_objects = self._guess.take(rows.predicted, rows.blocks)
        agree = (rows.labels == rows.predicted) & (truth > 0)
        if agree.any():
            pairs = truth[agree].astype(np.int64) * (len(guessed_objects) + 1) + guess[agree]
            for pair, pixels in zip(*(part.tolist() for part in np.unique(pairs, return_counts=True)), strict=True):
                number, partner = divmod(pair, len(guessed_objects) + 1)
                one, other = true_objects[number - 1].root(), guessed_objects[partner - 1]
                one.right += pixels
                one.shared[other] = one.shared.get(other, 0) + pixels
        self._settle(self._truth.open(), self._guess.open())

    def finish(self) -> None:
        """Count the objects that reach the last row."""
        self._settle(set(), set())
        self._truth, self._guess = _Side(), _Side()

    def _settle(self, open_truth: set[_Object], open_guess: set[_Object]) -> None:
        """Count what is complete: an object whose partners are complete too."""
        ready = {
            one
            for one in self._truth.pending
            if one not in open_truth and not any(partner in open_guess for partner in one.partners())
        }
        self._truth.pending -= ready
        for one in ready:
            self._count_truth(one)
        awaited = {partner for one in self._truth.pending for partner in one.partners()}
        done = {one for one in self._guess.pending if one not in open_guess and one not in awaited}
        self._guess.pending -= done
        self._count_false(one for one in done if not one.matched and one.pixels >= self._least)

    def _count_truth(self, one: _Object) -> None:
        partner = next((other for other, pixels in one.partners().items() if _is_match(one, other, pixels)), None)
        place = one.block, one.class_id - 1
        size = int(np.searchsorted(self._edges, one.pixels, side="right"))
        self._tally.sizes[*place, size, TP] += one.right
        self._tally.sizes[*place, size, FN] += one.pixels - one.right
        if partner is not None:
            partner.matched = True
        if one.pixels < self._least:
            return
        entry = FN if partner is None or partner.pixels < self._least else TP
        self._tally.objects[*place, entry] += 1
        self._tally.objects_by_size[*place, size, entry] += 1

    def _count_false(self, objects: Iterable[_Object]) -> None:
        for one in objects:
            self._tally.objects[one.block, one.class_id - 1, FP] += 1


def _is_match(truth: _Object, guess: _Object, shared: int) -> bool:
    return shared > LEAST_IOU * (truth.pixels + guess.pixels - shared)


def _components(
    ids: NDArray[np.uint8], blocks: NDArray[np.int32], seen: int
) -> tuple[NDArray[np.int32], list[_Object]]:
    """Number the components of all classes from 1 on, (rows, W), and describe them; `seen` pixels came before."""
    numbers = np.zeros(ids.shape, np.int32)
    objects: list[_Object] = []
    for class_id in np.flatnonzero(np.bincount(ids[ids > 0])).tolist():
        of_class, _ = label(ids == class_id)
        places = np.flatnonzero(of_class)
        _, first, pixels = np.unique(of_class.ravel()[places], return_index=True, return_counts=True)
        numbers.ravel()[places] = of_class.ravel()[places] + len(objects)
        starts = places[first]
        parts = zip((starts + seen).tolist(), blocks.ravel()[starts].tolist(), pixels.tolist(), strict=True)
        objects += [_Object(class_id, *part) for part in parts]
    return numbers, objects
