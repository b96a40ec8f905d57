"""Boundary IoU (Cheng, Girshick, Dollár, Berg and Kirillov 2021, "Boundary IoU"), counted while rows pass by.

The rim of a mask is its pixels within a distance of its contour; boundary IoU is the IoU of the rims of label and
prediction. The distance is that of the authors' code: steps to any of eight neighbours. Unlike there, what is unknown
(outside of the held-out ground, nodata) is taken to go on as the mask does: a block's edge is no contour.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from satseg.evaluation.intervals import FN, FP, TP
from satseg.evaluation.tally import Scored, add_counts


def rim(mask: NDArray[np.bool_], known: NDArray[np.bool_], distance_px: int) -> NDArray[np.bool_]:
    """Return the pixels of a mask (H, W) that are at most `distance_px` from a known pixel outside of it."""
    inside = (mask | ~known).view(np.uint8)
    for axis in (0, 1):
        inside = minimum_filter1d(inside, 2 * distance_px + 1, axis=axis, mode="constant", cval=1)
    near: NDArray[np.bool_] = mask & (inside == 0)
    return near


class BoundaryCounter:
    """Adds the rims' pixels of each block and class to `counts` (blocks, classes, 4) int64: TP, FP, FN; TN stays 0.

    Give it rows from top to bottom, then call `finish`; it holds twice the rim's width of rows.
    """

    def __init__(self, counts: NDArray[np.int64], distance_px: int) -> None:
        self._counts, self._distance = counts, distance_px
        self._held: Scored | None = None
        self._done = 0  # rows of `_held` that are counted and stay as context

    def add(self, rows: Scored) -> None:
        """Take more rows and count those whose neighbourhood is complete."""
        self._held = rows if self._held is None else Scored.join(self._held, rows)
        height = len(self._held.labels)
        self._count(max(self._done, height - self._distance))
        surplus = max(0, self._done - self._distance)
        self._held, self._done = self._held.rows(surplus, height), self._done - surplus

    def finish(self) -> None:
        """Count the last rows."""
        if self._held is not None:
            self._count(len(self._held.labels))
        self._held, self._done = None, 0

    def _count(self, stop: int) -> None:
        held, chosen = self._held, slice(self._done, stop)
        self._done = stop
        if held is None or chosen.start >= chosen.stop:
            return
        for class_id in range(1, self._counts.shape[1] + 1):
            truth, guess = held.labels == class_id, held.predicted == class_id
            if not (truth.any() or guess.any()):
                continue
            of_truth, of_guess = (rim(mask & held.known, held.known, self._distance)[chosen] for mask in (truth, guess))
            blocks = held.blocks[chosen]
            for entry, where in ((TP, of_truth & of_guess), (FP, of_guess & ~of_truth), (FN, of_truth & ~of_guess)):
                add_counts(self._counts[:, class_id - 1, entry], blocks[where])
