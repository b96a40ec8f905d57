"""Where windows and blocks lie in one scene: pure pixel geometry, no pixels and no files.

Rectangles are (top, left, bottom, right) in pixels, the last two exclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from satseg.config.patches import PatchConfig

Rects = NDArray[np.int64]  # (N, 4)


class Block(NamedTuple):
    """One cell of a scene's block grid."""

    name: str
    top: int
    left: int
    bottom: int
    right: int


class Window(NamedTuple):
    """One patch to be: its upper left pixel, its split, the block of its centre, and why it is not kept."""

    row: int
    col: int
    split: str
    block: str
    reason: str = ""


class Margin(NamedTuple):
    """The buffer in whole pixels, rounded up, down and across."""

    rows: int
    cols: int


@dataclass(frozen=True)
class SceneBlocks:
    """A scene's size in pixels, its block grid row by row, and the split of each block by name."""

    height: int
    width: int
    blocks: Sequence[Block]
    splits: dict[str, str]


@dataclass(frozen=True)
class HeldOut:
    """Ground of other scenes' test and val windows in this scene's pixels."""

    test: Rects
    val: Rects


def no_rects() -> Rects:
    """Return an empty (0, 4) array."""
    return np.empty((0, 4), dtype=np.int64)


def axis_starts(extent: int, size: int, stride: int) -> list[int]:
    """Return the starts of windows that cover 0..extent; the last is shifted inward to end at the edge."""
    if extent <= size:
        return [0]
    starts = list(range(0, extent - size + 1, stride))
    return starts if starts[-1] == extent - size else [*starts, extent - size]


def axis_edges(extent: int, block: int) -> list[int]:
    """Return the edges of blocks along an axis; a rest shorter than half a block joins its neighbour."""
    edges = list(range(0, extent, block))
    if len(edges) > 1 and extent - edges[-1] < block / 2:
        edges.pop()
    return [*edges, extent]


def block_grid(scene: str, height: int, width: int, block_px: int) -> list[Block]:
    """Return a scene's blocks, row by row, named `<scene>/<block row>-<block column>`."""
    rows, cols = axis_edges(height, block_px), axis_edges(width, block_px)
    return [
        Block(f"{scene}/{i}-{j}", rows[i], cols[j], rows[i + 1], cols[j + 1])
        for i, j in product(range(len(rows) - 1), range(len(cols) - 1))
    ]


def held_out_starts(start: int, end: int, extent: int, size: int) -> list[int]:
    """Return starts of windows side by side that cover the block start..end, the last ending at the block's end.

    A block at the scene's edge may be shorter than a window, which then reaches into the block before it.
    """
    starts = list(range(start, max(end - size, start) + 1, size))
    if starts[-1] + size < end:
        starts.append(end - size)
    return sorted({max(0, min(position, extent - size)) for position in starts})


def held_out_windows(scene: SceneBlocks, split: str, size: int) -> list[Window]:
    """Return the windows of all blocks of one held-out split."""
    return [
        Window(row, col, split, block.name)
        for block in scene.blocks
        if scene.splits[block.name] == split
        for row in held_out_starts(block.top, block.bottom, scene.height, size)
        for col in held_out_starts(block.left, block.right, scene.width, size)
    ]


def rects_of(windows: Sequence[Window], size: int) -> Rects:
    """Return the windows' rectangles, (N, 4) int64."""
    starts = np.array([(window.row, window.col) for window in windows], dtype=np.int64).reshape(-1, 2)
    return np.hstack([starts, starts + size])


def too_close(rect: NDArray[np.int64], others: Rects, margin: Margin) -> NDArray[np.bool_]:
    """Return which of `others` (N, 4) come nearer to `rect` (4,) than the margin; touching is near only with > 0."""
    gap_rows = np.maximum(others[:, 0] - rect[2], rect[0] - others[:, 2])
    gap_cols = np.maximum(others[:, 1] - rect[3], rect[1] - others[:, 3])
    near: NDArray[np.bool_] = (gap_rows < margin.rows) & (gap_cols < margin.cols)
    return near


def neighbours(rects: Rects, others: Rects, rows: int, cols: int) -> list[NDArray[np.int64]]:
    """Return for each rectangle the indices of `others` within (rows, cols) pixels of it."""
    tree = shapely.STRtree(shapely.box(others[:, 1], others[:, 0], others[:, 3], others[:, 2]))
    reach = shapely.box(rects[:, 1] - cols, rects[:, 0] - rows, rects[:, 3] + cols, rects[:, 2] + rows)
    which, found = tree.query(reach)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(rects) + 1))
    return [np.sort(found[order[bounds[i] : bounds[i + 1]]]) for i in range(len(rects))]


class SceneLayout:
    """Decides all windows of one scene from its block splits and the held-out ground of other scenes.

    Test windows always stay; val windows stay clear of test windows; train windows stay clear of both, by the
    buffer. A train window that is too near moves away by less than a stride when it can, instead of being
    dropped, so that training uses the ground up to the buffer.
    """

    def __init__(self, scene: SceneBlocks, foreign: HeldOut, margin: Margin, config: PatchConfig) -> None:
        self._scene = scene
        self._splits = scene.splits
        self._foreign = foreign
        self._margin = margin
        self._config = config
        self._row_edges = np.unique([block.top for block in scene.blocks])
        self._col_edges = np.unique([block.left for block in scene.blocks])

    def windows(self) -> list[Window]:
        """Return all windows, held-out ones first; those with an empty reason are free of leaks."""
        size = self._config.size_px
        test = held_out_windows(self._scene, "test", size)
        test_rects = np.vstack([rects_of(test, size), self._foreign.test])
        val = self._clear_of(held_out_windows(self._scene, "val", size), test_rects)
        kept_val = [window for window in val if not window.reason]
        obstacles = np.vstack([test_rects, rects_of(kept_val, size), self._foreign.val])
        return [*test, *val, *self._train(obstacles)]

    def _clear_of(self, windows: list[Window], obstacles: Rects) -> list[Window]:
        rects = rects_of(windows, self._config.size_px)
        near = neighbours(rects, obstacles, *self._margin)
        return [
            window._replace(reason="buffer") if too_close(rect, obstacles[found], self._margin).any() else window
            for window, rect, found in zip(windows, rects, near, strict=True)
        ]

    def _train(self, obstacles: Rects) -> list[Window]:
        size, stride = self._config.size_px, self._config.stride_px
        rows, cols = axis_starts(self._scene.height, size, stride), axis_starts(self._scene.width, size, stride)
        grid = [Window(row, col, "train", self._block_at(row, col)) for row, col in product(rows, cols)]
        rects = rects_of(grid, size)
        near = neighbours(rects, obstacles, self._margin.rows + stride, self._margin.cols + stride)
        free = [
            not too_close(rect, obstacles[found], self._margin).any() for rect, found in zip(rects, near, strict=True)
        ]
        taken = {(window.row, window.col) for window, is_free in zip(grid, free, strict=True) if is_free}
        windows = []
        for window, rect, found, is_free in zip(grid, rects, near, free, strict=True):
            if is_free:
                settled: Window | None = window
            else:
                settled = self._moved(rect, obstacles[found])
                if settled is not None and (settled.row, settled.col) in taken:
                    continue  # a neighbour holds the place already
            if settled is not None and self._splits[settled.block] == "train":
                taken.add((settled.row, settled.col))
                windows.append(settled)
            elif self._splits[window.block] == "train":
                windows.append(window._replace(reason="buffer"))
        return windows

    def _moved(self, rect: NDArray[np.int64], near: Rects) -> Window | None:
        """Return the nearest place less than a stride away that is free and centred in a train block."""
        size = self._config.size_px
        rows = self._escapes(int(rect[0]), near[:, [0, 2]], self._margin.rows, self._scene.height)
        cols = self._escapes(int(rect[1]), near[:, [1, 3]], self._margin.cols, self._scene.width)
        distances = [(abs(row - int(rect[0])) + abs(col - int(rect[1])), row, col) for row, col in product(rows, cols)]
        for _, row, col in sorted(distances):
            moved = np.array([row, col, row + size, col + size])
            block = self._block_at(row, col)
            if self._splits[block] == "train" and not too_close(moved, near, self._margin).any():
                return Window(row, col, "train", block)
        return None

    def _escapes(self, start: int, intervals: NDArray[np.int64], margin: int, extent: int) -> list[int]:
        """Return `start` and the positions just before and behind the obstacles' intervals, within a stride."""
        size = self._config.size_px
        edges = np.concatenate([intervals[:, 0] - margin - size, intervals[:, 1] + margin])
        reachable = edges[(abs(edges - start) < self._config.stride_px) & (edges >= 0) & (edges <= extent - size)]
        return [start, *np.unique(reachable[reachable != start]).tolist()]

    def _block_at(self, row: int, col: int) -> str:
        """Return the name of the block that holds the centre of the window at (row, col)."""
        middle = self._config.size_px // 2
        i = np.searchsorted(self._row_edges, min(row + middle, self._scene.height - 1), side="right") - 1
        j = np.searchsorted(self._col_edges, min(col + middle, self._scene.width - 1), side="right") - 1
        return self._scene.blocks[int(i) * len(self._col_edges) + int(j)].name
