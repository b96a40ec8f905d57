"""Probe windows: how many training windows an assignment of blocks leaves, without laying out each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satseg.patches.windows import Block, Margin, axis_starts

PROBES_PER_WINDOW = 4  # a probe every quarter of a window, down and across


@dataclass(frozen=True)
class Probes:
    """Possible training windows of all scenes.

    Attributes:
        areas: (P, 1 + classes) pixels with data and of each class in each probe, in expectation.
        near: for each block the probes that come too close to it to be trained on when it is held out.
    """

    areas: NDArray[np.float64]
    near: list[NDArray[np.int64]]


def probe_scene(blocks: Sequence[Block], areas: NDArray[np.float64], size: int, margin: Margin) -> Probes:
    """Lay probes over one scene.

    Args:
        blocks: the scene's block grid.
        areas: (B, 1 + classes) pixels with data and of each class in each block.
        size: side of a window in pixels.
        margin: the buffer in pixels.
    """
    # grid and probes are both products of rows and columns, so each axis is done on its own
    down = _Axis.of(sorted({(block.top, block.bottom) for block in blocks}), size, margin.rows)
    across = _Axis.of(sorted({(block.left, block.right) for block in blocks}), size, margin.cols)
    content = areas.reshape(len(down.near), len(across.near), -1)
    shared = np.einsum("pi,qj,ijk->pqk", down.shares, across.shares, content, optimize=True)
    width = len(across.shares)
    near = [(rows[:, None] * width + cols).ravel() for rows in down.near for cols in across.near]
    return Probes(shared.reshape(-1, areas.shape[1]), near)


@dataclass(frozen=True)
class _Axis:
    """Probes against blocks along one axis.

    Attributes:
        shares: (P, B) part of each block that lies in each probe.
        near: for each block the probes nearer than the margin.
    """

    shares: NDArray[np.float64]
    near: list[NDArray[np.int64]]

    @classmethod
    def of(cls, blocks: list[tuple[int, int]], size: int, margin: int) -> "_Axis":
        starts = np.array(axis_starts(blocks[-1][1], size, max(size // PROBES_PER_WINDOW, 1)))[:, None]
        tops, bottoms = np.array(blocks).T
        common = np.minimum(starts + size, bottoms) - np.maximum(starts, tops)
        # as in `too_close`: nearer than the margin, which for 0 means overlapping
        near = [np.flatnonzero(-common[:, i] < margin) for i in range(len(blocks))]
        return cls(np.clip(common, 0, None) / (bottoms - tops), near)


def join(parts: Sequence[Probes]) -> Probes:
    """Put the probes of several scenes one after the other, blocks in the same order."""
    offsets = np.cumsum([0, *(len(part.areas) for part in parts)])
    near = [index + offset for part, offset in zip(parts, offsets, strict=False) for index in part.near]
    return Probes(np.vstack([part.areas for part in parts]), near)
