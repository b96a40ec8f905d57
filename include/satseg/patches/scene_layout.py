"""Which windows a scene gives: those of held-out blocks, and training windows that keep clear of them."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import shapely
from numpy.typing import NDArray

from satseg.config.patches import PatchConfig
from satseg.patches.windows import (
    HeldOut,
    Margin,
    Rects,
    SceneBlocks,
    Window,
    Windows,
    axis_starts,
    held_out_windows,
    rects_of,
    too_close,
)

AT_A_TIME = 8192  # windows whose neighbours are looked up together; bounds the memory


class Obstacles:
    """Rectangles to keep clear of, behind a spatial index."""

    def __init__(self, rects: Rects, margin: Margin) -> None:
        self._rects = rects
        self._margin = margin
        self._tree = shapely.STRtree(shapely.box(rects[:, 1], rects[:, 0], rects[:, 3], rects[:, 2]))

    def near(self, rects: Rects, reach: int) -> list[Rects]:
        """Return for each rectangle the obstacles within the margin and `reach` more pixels of it."""
        if not len(rects):
            return []
        rows, cols = self._margin.rows + reach, self._margin.cols + reach
        boxes = shapely.box(rects[:, 1] - cols, rects[:, 0] - rows, rects[:, 3] + cols, rects[:, 2] + rows)
        which, found = self._tree.query(boxes)
        order = np.lexsort((found, which))
        bounds = np.searchsorted(which[order], np.arange(1, len(rects)))
        return [self._rects[part] for part in np.split(found[order], bounds)]

    def blocked(self, rects: Rects) -> NDArray[np.bool_]:
        """Return which rectangles (N, 4) come nearer to an obstacle than the margin, (N,)."""
        blocked = np.zeros(len(rects), dtype=bool)
        for start in range(0, len(rects), AT_A_TIME):
            some = rects[start : start + AT_A_TIME]
            reach = self._margin.rows, self._margin.cols
            boxes = shapely.box(
                some[:, 1] - reach[1], some[:, 0] - reach[0], some[:, 3] + reach[1], some[:, 2] + reach[0]
            )
            which, found = self._tree.query(boxes)
            hit = too_close(some[which].T, self._rects[found], self._margin)
            blocked[start + which[hit]] = True
        return blocked


class SceneLayout:
    """Decides all windows of one scene from its block splits and the held-out ground of other scenes.

    Test windows always stay; val windows stay clear of test windows; train windows stay clear of both, by the
    buffer. Of both, those on ground that earlier models trained on are not kept. A train window that is too near
    moves away by less than a stride when it can, instead of being dropped, so that training uses the ground up to
    the buffer.
    """

    def __init__(self, scene: SceneBlocks, foreign: HeldOut, margin: Margin, config: PatchConfig) -> None:
        self._scene = scene
        self._splits = scene.splits
        self._foreign = foreign
        self._margin = margin
        self._config = config
        self._names = np.array([block.name for block in scene.blocks], dtype=object)
        self._row_edges = np.unique([block.top for block in scene.blocks])
        self._col_edges = np.unique([block.left for block in scene.blocks])

    def windows(self) -> Windows:
        """Return all windows, held-out ones first; those with an empty reason are free of leaks."""
        size, edge = self._config.size_px, self._config.edge
        test = held_out_windows(self._scene, "test", size, edge)
        test_rects = np.vstack([rects_of(test, size), self._foreign.test])
        val = self._clear_of(held_out_windows(self._scene, "val", size, edge), test_rects, self._margin, "buffer")
        kept_val = [window for window in val if not window.reason]
        obstacles = Obstacles(np.vstack([test_rects, rects_of(kept_val, size), self._foreign.val]), self._margin)
        held_out = self._clear_of([*test, *val], self._foreign.trained, Margin(0, 0), "was trained on")
        return Windows.join([Windows.of(held_out), *self._train(obstacles)])

    def _clear_of(self, windows: list[Window], obstacles: Rects, margin: Margin, reason: str) -> list[Window]:
        """Return the windows; those nearer to obstacles than the margin get the reason unless they have one."""
        blocked = Obstacles(obstacles, margin).blocked(rects_of(windows, self._config.size_px))
        return [
            window._replace(reason=window.reason or reason) if near else window
            for window, near in zip(windows, blocked, strict=True)
        ]

    def _train(self, obstacles: Obstacles) -> Iterator[Windows]:
        """Yield the training windows grid row by grid row."""
        size, stride, edge = self._config.size_px, self._config.stride_px, self._config.edge
        rows = axis_starts(self._scene.height, size, stride, edge)
        cols = np.array(axis_starts(self._scene.width, size, stride, edge), dtype=np.int64)
        grid = np.array(list(product(rows, cols.tolist())), dtype=np.int64).reshape(-1, 2)
        free = ~obstacles.blocked(np.hstack([grid, grid + size])).reshape(len(rows), len(cols))
        taken = _Taken(rows, cols.tolist(), free)
        for row, is_free in zip(rows, free, strict=True):
            settled = self._free_windows(row, cols[is_free])
            moved = self._moved_windows(row, cols[~is_free], obstacles, taken)
            yield Windows.join([settled, Windows.of(moved)])

    def _free_windows(self, row: int, cols: NDArray[np.int64]) -> Windows:
        blocks = self._blocks_at(row, cols)
        mine = np.array([self._splits[block] == "train" for block in blocks], dtype=bool)
        cols, blocks = cols[mine], blocks[mine]
        names = [np.full(len(cols), name, dtype=object) for name in ("train", "")]
        return Windows(np.full(len(cols), row), cols, names[0], blocks, names[1])

    def _moved_windows(self, row: int, cols: NDArray[np.int64], obstacles: Obstacles, taken: "_Taken") -> list[Window]:
        size = self._config.size_px
        rects = np.stack([np.full(len(cols), row), cols, np.full(len(cols), row + size), cols + size], axis=1)
        windows = []
        for rect, near in zip(rects, obstacles.near(rects, self._config.stride_px), strict=True):
            settled = self._moved(rect, near)
            if settled is not None and (settled.row, settled.col) in taken:
                continue  # a neighbour holds the place already
            if settled is not None:
                taken.add(settled)
                windows.append(settled)
            elif self._splits[block := self._block_at(int(rect[0]), int(rect[1]))] == "train":
                windows.append(Window(int(rect[0]), int(rect[1]), "train", block, "buffer"))
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

    def _blocks_at(self, row: int, cols: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the names of the blocks that hold the centres of the windows at (row, cols)."""
        middle = self._config.size_px // 2
        i = np.searchsorted(self._row_edges, min(row + middle, self._scene.height - 1), side="right") - 1
        j = np.searchsorted(self._col_edges, np.minimum(cols + middle, self._scene.width - 1), side="right") - 1
        names: NDArray[np.object_] = self._names[i * len(self._col_edges) + j]
        return names

    def _block_at(self, row: int, col: int) -> str:
        return str(self._blocks_at(row, np.array([col]))[0])


class _Taken:
    """Places that hold a training window: the free ones of the grid, and those that others have moved to."""

    def __init__(self, rows: Sequence[int], cols: Sequence[int], free: NDArray[np.bool_]) -> None:
        self._rows = {row: i for i, row in enumerate(rows)}
        self._cols = {col: i for i, col in enumerate(cols)}
        self._free = free
        self._moved: set[tuple[int, int]] = set()

    def __contains__(self, place: tuple[int, int]) -> bool:
        i, j = self._rows.get(place[0]), self._cols.get(place[1])
        return (i is not None and j is not None and bool(self._free[i, j])) or place in self._moved

    def add(self, window: Window) -> None:
        """Take a window's place."""
        self._moved.add((window.row, window.col))
