"""The blocks to divide, one by one or several as one unit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satseg.patches.probes import Probes

TRAIN, VAL, TEST = 0, 1, 2
FREE = -1
DIAGONAL = 0.25
MANY = 256  # from here on the search takes longer than reading the pixels, and its splits are ragged
UNITS, LEAST_SQUARES = 128, 9  # squares of blocks in all, and in a scene
STEPS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)
Edges = list[list[tuple[int, float]]]  # of each block: its neighbours and the weight of the common border


@dataclass(frozen=True)
class BlockTable:
    """The blocks to divide.

    Attributes:
        areas: (B, 1 + classes) pixels with data, then labelled pixels of each class.
        scene: (B,) number of the block's scene.
        place: (B, 2) block row and column within the scene.
        fixed: (B,) split of blocks that are assigned already, FREE for the others.
        probes: possible training windows over the same blocks.
    """

    areas: NDArray[np.float64]
    scene: NDArray[np.int64]
    place: NDArray[np.int64]
    fixed: NDArray[np.int64]
    probes: Probes


def squares(table: BlockTable) -> NDArray[np.int64] | None:
    """Return which blocks are assigned together, (B,), None when there are few enough for one by one."""
    free = table.fixed == FREE
    if np.count_nonzero(free) <= MANY:
        return None
    keys = np.empty((len(free), 4), dtype=np.int64)
    for scene in np.unique(table.scene):
        mine = table.scene == scene
        count = np.count_nonzero(mine & free)
        wanted = max(LEAST_SQUARES, UNITS * count / np.count_nonzero(free))
        keys[mine, 0], keys[mine, 1:3] = scene, table.place[mine] // max(1, round(np.ceil((count / wanted) ** 0.5)))
    keys[:, 3] = np.where(free, -1, np.arange(len(free)))  # what is assigned already stays a unit of its own
    _, units = np.unique(keys, axis=0, return_inverse=True)
    return units.reshape(-1)


def joined(table: BlockTable, units: NDArray[np.int64]) -> tuple[BlockTable, Edges]:
    """Return the units of blocks, (B,) numbered from 0, as blocks of their own, and their common borders."""
    count = int(units.max()) + 1
    _, first = np.unique(units, return_index=True)
    areas = np.zeros((count, table.areas.shape[1]))
    np.add.at(areas, units, table.areas)
    order = np.argsort(units, kind="stable")
    members = np.split(order, np.searchsorted(units[order], np.arange(1, count)))
    near = [np.unique(np.concatenate([table.probes.near[i] for i in some])) for some in members]
    probes = Probes(table.probes.areas, near)
    together = BlockTable(areas, table.scene[first], table.place[first], table.fixed[first], probes)
    return together, _unit_edges(table, units, count)


def _unit_edges(table: BlockTable, units: NDArray[np.int64], count: int) -> Edges:
    """Return for each unit the others it borders on; in arrays, for there can be very many blocks."""
    here = np.flatnonzero(table.areas[:, 0] > 0)
    rows, cols = table.place.max(axis=0) + 3  # a rim, so that no neighbour lies across a row's end
    places = (table.scene * rows + table.place[:, 0] + 1) * cols + table.place[:, 1] + 1
    order = here[np.argsort(places[here], kind="stable")]
    pairs, lengths = [], []
    for down, right in STEPS:
        wanted = places[here] + down * cols + right
        found = order[np.minimum(np.searchsorted(places[order], wanted), len(order) - 1)]
        joins = (places[found] == wanted) & (units[here] != units[found])
        pairs.append(units[here][joins] * count + units[found][joins])
        lengths.append(np.full(len(pairs[-1]), DIAGONAL if down and right else 1.0))
    keys, which = np.unique(np.concatenate(pairs), return_inverse=True)
    totals = np.bincount(which, np.concatenate(lengths), len(keys))
    edges: Edges = [[] for _ in range(count)]
    for key, total in zip(keys.tolist(), totals.tolist(), strict=True):
        edges[key // count].append((key % count, total))
    return edges


def neighbours(table: BlockTable) -> Edges:
    """Return for each block its neighbours in the same scene and the weight of their common border."""
    where = {
        (int(scene), int(row), int(col)): i
        for i, (scene, (row, col)) in enumerate(zip(table.scene, table.place, strict=True))
        if table.areas[i, 0] > 0
    }
    result: Edges = [[] for _ in table.scene]
    for (scene, row, col), i in where.items():
        for down, right in STEPS:
            j = where.get((scene, row + down, col + right))
            if j is not None:
                result[i].append((j, DIAGONAL if down and right else 1.0))
    return result
