"""What is known of the held-out ground, row by row: which window counts a pixel, and its label."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from satseg.evaluation.windows import HeldOut

NOBODY = -1
ReadMask = Callable[[HeldOut, int, int], NDArray[np.uint8]]


class HeldOutRows:
    """The held-out windows of one scene, or of one part of it, as a map of its rows.

    Each pixel belongs to one window: where windows overlap, as the last ones of a row shifted inward do, to the
    earlier one.
    """

    def __init__(self, windows: Sequence[HeldOut], height: int, width: int) -> None:
        self.windows = tuple(windows)
        self.top = min(window.row for window in windows)
        self.bottom = min(height, max(window.row + window.size for window in windows))
        self.left = min(window.col for window in windows)
        self.right = min(width, max(window.col + window.size for window in windows))
        self._tops = np.array([window.row for window in windows])
        self._bottoms = self._tops + np.array([window.size for window in windows])

    def within(self, top: int, bottom: int) -> list[int]:
        """Return the positions in `windows` of those that touch rows top..bottom."""
        found: list[int] = np.flatnonzero((self._tops < bottom) & (self._bottoms > top)).tolist()
        return found

    def owners(self, top: int, bottom: int) -> NDArray[np.int32]:
        """Return for each pixel of the rows and of columns left..right the position of its window, or NOBODY."""
        owners = np.full((bottom - top, self.right - self.left), NOBODY, np.int32)
        for position in reversed(self.within(top, bottom)):
            rows, cols = self.place(self.windows[position], top, bottom)
            owners[rows, cols] = position
        return owners

    def own_pixels(self, position: int) -> NDArray[np.bool_]:
        """Return which pixels of a window (size, size) are its own."""
        window = self.windows[position]
        own = np.zeros((window.size, window.size), bool)
        owners = self.owners(window.row, min(window.row + window.size, self.bottom))
        _, cols = self.place(window, window.row, window.row + window.size)
        found = owners[:, cols] == position
        own[: found.shape[0], : found.shape[1]] = found
        return own

    def labels(self, top: int, bottom: int, read: ReadMask) -> NDArray[np.uint8]:
        """Return the class ids of the same pixels, 0 outside of all windows.

        `read` returns rows start..stop of a window's mask.
        """
        labels = np.zeros((bottom - top, self.right - self.left), np.uint8)
        for position in reversed(self.within(top, bottom)):
            window = self.windows[position]
            rows, cols = self.place(window, top, bottom)
            mask = read(window, rows.start + top - window.row, rows.stop + top - window.row)
            labels[rows, cols] = mask[:, cols.start + self.left - window.col : cols.stop + self.left - window.col]
        return labels

    def place(self, window: HeldOut, top: int, bottom: int) -> tuple[slice, slice]:
        """Return where a window lies in the array of rows top..bottom and columns left..right."""
        rows = slice(max(window.row, top) - top, min(window.row + window.size, bottom) - top)
        cols = slice(max(window.col, self.left) - self.left, min(window.col + window.size, self.right) - self.left)
        return rows, cols
