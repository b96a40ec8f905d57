"""Which of many bounding boxes meet a window: a grid of buckets, at a tenth of the memory of a tree."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BUCKETS = 512  # along each axis
LARGE = 64  # boxes over more buckets than this are looked at in every query


class BoxIndex:
    """Boxes (N, 4) as x and y minimum, x and y maximum; infinite ones meet nothing. Threads may share it."""

    def __init__(self, boxes: NDArray[np.float64]) -> None:
        self._boxes = boxes
        self._side = int(np.clip(np.ceil(len(boxes) ** 0.5), 1, MOST_BUCKETS))
        usable = np.asarray(np.isfinite(boxes).all(axis=1))
        low, high = np.zeros(2), np.ones(2)
        if usable.any():
            low, high = boxes[usable, :2].min(axis=0), boxes[usable, 2:].max(axis=0)
        boxes = np.where(usable[:, None], boxes, np.tile(low, 2))
        self._origin, self._step = low, np.maximum((high - low) / self._side, np.finfo(float).tiny)
        first, last = self._buckets(boxes[:, :2]), self._buckets(boxes[:, 2:])
        counts = (last - first + 1).prod(axis=1)
        small = counts <= LARGE
        self._large = np.flatnonzero(~small)
        members = np.repeat(np.flatnonzero(small), counts[small])
        # the how manieth bucket of its box each entry is, turned into row and column
        place = np.arange(len(members)) - np.repeat(np.cumsum(counts[small]) - counts[small], counts[small])
        across = (last - first + 1)[members, 0]
        cols, rows = first[members, 0] + place % across, first[members, 1] + place // across
        keys = rows * self._side + cols
        order = np.argsort(keys, kind="stable")
        self._members = members[order].astype(np.int32)
        self._starts = np.searchsorted(keys[order], np.arange(self._side**2 + 1))

    def _buckets(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        places = np.clip((points - self._origin) / self._step, 0, self._side - 1)
        buckets: NDArray[np.int64] = places.astype(np.int64)
        return buckets

    def query(self, x_min: float, y_min: float, x_max: float, y_max: float) -> NDArray[np.int64]:
        """Return the numbers of the boxes that meet a window or touch it, ascending."""
        (left, bottom), (right, top) = self._buckets(np.array([[x_min, y_min], [x_max, y_max]]))
        parts: list[NDArray[Any]] = [self._large]
        for row in range(int(bottom), int(top) + 1):
            start, end = self._starts[row * self._side + left], self._starts[row * self._side + right + 1]
            parts.append(self._members[start:end])
        found = np.unique(np.concatenate(parts))
        boxes = self._boxes[found]
        meets = (boxes[:, 0] <= x_max) & (boxes[:, 2] >= x_min) & (boxes[:, 1] <= y_max) & (boxes[:, 3] >= y_min)
        near: NDArray[np.int64] = found[meets].astype(np.int64)
        return near
