"""Where windows and blocks lie in one scene: pure pixel geometry, no pixels and no files.

Rectangles are (top, left, bottom, right) in pixels, the last two exclusive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.patches import Edge

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


@dataclass(frozen=True)
class Windows:
    """Many windows, one array (N,) per field of `Window`: row and col int64, the others names."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    split: NDArray[np.object_]
    block: NDArray[np.object_]
    reason: NDArray[np.object_]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> "Windows":
        """Return the same as arrays."""
        places = np.array([window[:2] for window in windows], dtype=np.int64).reshape(-1, 2)
        names = np.array([window[2:] for window in windows], dtype=object).reshape(-1, 3)
        return cls(places[:, 0], places[:, 1], *names.T)

    @classmethod
    def join(cls, parts: "Sequence[Windows]") -> "Windows":
        """Put windows one after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All arrays, in the order of the fields."""
        return self.row, self.col, self.split, self.block, self.reason

    def __len__(self) -> int:
        return len(self.row)

    def __iter__(self) -> Iterator[Window]:
        return map(Window, self.row.tolist(), self.col.tolist(), self.split, self.block, self.reason)


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


def no_rects() -> Rects:
    """Return an empty (0, 4) array."""
    return np.empty((0, 4), dtype=np.int64)


@dataclass(frozen=True)
class HeldOut:
    """Ground of other scenes' test and val windows in this scene's pixels, and what earlier models trained on."""

    test: Rects
    val: Rects
    trained: Rects = field(default_factory=no_rects)


def axis_starts(extent: int, size: int, stride: int, edge: Edge = "shift") -> list[int]:
    """Return the starts of windows along 0..extent.

    At the far edge the last window is shifted inward to end there ("shift"), or reaches over it ("pad"), or what a
    whole window does not fit in is left out ("drop").
    """
    if edge == "drop":
        return list(range(0, extent - size + 1, stride))
    if extent <= size:
        return [0]
    if edge == "pad":
        return list(range(0, extent - size + stride, stride))
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


def held_out_starts(start: int, end: int, extent: int, size: int, edge: Edge = "shift") -> list[int]:
    """Return starts of windows side by side that cover the block start..end, the last ending at the block's end.

    A block at the scene's edge may be shorter than a window, which then reaches into the block before it ("shift"),
    over the edge ("pad"), or is left out ("drop"). Only blocks at the edge are no multiple of `size`.
    """
    if edge == "pad":
        return list(range(start, end, size))
    if edge == "drop":
        return list(range(start, end - size + 1, size))
    starts = list(range(start, max(end - size, start) + 1, size))
    if starts[-1] + size < end:
        starts.append(end - size)
    return sorted({max(0, min(position, extent - size)) for position in starts})


def held_out_windows(scene: SceneBlocks, split: str, size: int, edge: Edge = "shift") -> list[Window]:
    """Return the windows of all blocks of one held-out split."""
    return [
        Window(row, col, split, block.name)
        for block in scene.blocks
        if scene.splits[block.name] == split
        for row in held_out_starts(block.top, block.bottom, scene.height, size, edge)
        for col in held_out_starts(block.left, block.right, scene.width, size, edge)
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
