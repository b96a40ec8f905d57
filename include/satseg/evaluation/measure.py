"""One pass over the held-out ground of a scene: every number of a report is counted while the map's rows appear."""

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satseg.evaluation.boundary import BoundaryCounter
from satseg.evaluation.calibration import class_probabilities, count_levels, count_reliability
from satseg.evaluation.objects import ObjectCounter
from satseg.evaluation.scores import confusion
from satseg.evaluation.tally import Scored, Tally
from satseg.evaluation.truth import HeldOutRows
from satseg.evaluation.windows import HeldOut, ShardReader
from satseg.inference.blend import FinishedRows
from satseg.models.interface import class_ids


@dataclass(frozen=True)
class Rules:
    """What counts as positive, as near a contour, and as an object of which size; lengths and areas in pixels."""

    threshold: float
    boundary_px: int
    least_object_px: int
    size_edges_px: tuple[float, float]


OnWindow = Callable[[HeldOut, NDArray[np.uint8], NDArray[np.bool_]], None]


class GroundCounter:
    """Counts the rows of a scene's held-out ground into a tally.

    Windows of the test split are scored; those of the validation split count in the threshold sweep alone.
    `on_window` gets each test window when its last row has passed: class ids (size, size) and which of its pixels
    were scored. Memory holds the rows of a call, a rim's width of rows, and the windows that the last row touches.
    """

    def __init__(
        self, tally: Tally, ground: HeldOutRows, reader: ShardReader, rules: Rules, on_window: OnWindow
    ) -> None:
        self._tally, self._ground, self._reader, self._rules = tally, ground, reader, rules
        # the last entry is that of NOBODY's pixels
        self._block_of = np.append(tally.block_numbers(ground.windows), np.int32(-1)).astype(np.int32)
        self._number_of = np.array([window.number for window in ground.windows], np.int64)
        self._boundary = BoundaryCounter(tally.rims, rules.boundary_px)
        self._objects = ObjectCounter(tally, rules.least_object_px, rules.size_edges_px)
        self._tiles = _Tiles(ground, on_window)

    def count(self, rows: Generator[FinishedRows], on_rows: Callable[[int], None]) -> None:
        """Count a whole scene; `on_rows` is told the height of each piece."""
        with closing(rows):  # its threads end with it
            for some in rows:
                self._add(some)
                on_rows(len(some.valid))
        self._end()
        self._tiles.end()

    def _add(self, rows: FinishedRows) -> None:
        ground, top, bottom = self._ground, rows.row, rows.row + len(rows.valid)
        probabilities, known = rows.probabilities, rows.valid
        if not known.any():
            self._end()
            self._tiles.hand_on(bottom)
            return
        owners, labels = ground.owners(top, bottom), ground.labels(top, bottom, self._reader.mask)
        blocks = self._block_of[owners]
        test = known & (blocks >= 0)
        ids = class_ids(probabilities, self._rules.threshold)
        scored = Scored(
            np.where(test, labels, 0).astype(np.uint8), np.where(test, ids, 0).astype(np.uint8), test, blocks
        )
        self._count_pixels(scored, probabilities, owners)
        if len(self._tally.classes) == 1 and (validation := known & ~test).any():
            count_levels(self._tally.sweep, probabilities[validation][:, 0], labels[validation])
        self._boundary.add(scored)
        self._objects.add(scored)
        self._tiles.add(top, owners, scored)

    def _count_pixels(self, scored: Scored, probabilities: NDArray[np.float32], owners: NDArray[np.int32]) -> None:
        tally, test = self._tally, scored.known
        labels, ids = scored.labels[test], scored.predicted[test]
        numbers = np.flatnonzero(np.bincount(scored.blocks[test], minlength=len(tally.keys)))
        local = np.zeros(len(tally.keys), np.int32)  # few of all blocks meet here
        local[numbers] = np.arange(len(numbers))
        blocks = local[scored.blocks[test]]
        tally.confusion[numbers] += confusion(labels, ids, len(tally.classes), blocks, len(numbers))
        reliability = np.zeros((len(numbers), *tally.reliability.shape[1:]))
        count_reliability(reliability, class_probabilities(probabilities[test], len(tally.classes)), labels, blocks)
        tally.reliability[numbers] += reliability
        there = (labels > 0) | (ids > 0)
        windows = self._number_of[owners[test][there]]
        right = (labels == ids)[there]
        tally.window_hits[:, 0] += np.bincount(windows[right], minlength=tally.windows)
        tally.window_hits[:, 1] += np.bincount(windows, minlength=tally.windows)

    def _end(self) -> None:
        """Nothing known follows: what was waiting for more rows is complete."""
        self._boundary.finish()
        self._objects.finish()


class _Tiles:
    """Puts the rows of a map together to windows."""

    def __init__(self, ground: HeldOutRows, on_window: OnWindow) -> None:
        self._ground, self._on_window = ground, on_window
        self._open: dict[int, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = {}

    def add(self, top: int, owners: NDArray[np.int32], scored: Scored) -> None:
        """Take rows from `top` on and hand on the windows that end in them."""
        bottom = top + len(owners)
        for position in self._ground.within(top, bottom):
            window = self._ground.windows[position]
            if window.split != "test":
                continue
            if position not in self._open:
                shape = (window.size, window.size)
                self._open[position] = np.zeros(shape, np.uint8), np.zeros(shape, bool)
            ids, valid = self._open[position]
            rows, cols = self._ground.place(window, top, bottom)
            inside = (
                slice(rows.start + top - window.row, rows.stop + top - window.row),
                slice(cols.start + self._ground.left - window.col, cols.stop + self._ground.left - window.col),
            )
            ids[inside] = scored.predicted[rows, cols]
            valid[inside] = scored.known[rows, cols] & (owners[rows, cols] == position)
        self.hand_on(bottom)

    def end(self) -> None:
        """Hand on the windows that reach over the scene's end."""
        self.hand_on(math.inf)

    def hand_on(self, bottom: float) -> None:
        """Hand on the windows that end above row `bottom`."""
        ended = [
            position
            for position in self._open
            if self._ground.windows[position].row + self._ground.windows[position].size <= bottom
        ]
        for position in ended:
            self._on_window(self._ground.windows[position], *self._open.pop(position))
