"""Which block goes to which split: a seeded search for a balanced, compact, well spread assignment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = 0, 1, 2
FREE = -1
MISSING_SPLIT, MISSING_CLASS = 1000.0, 10.0
DENSITY_WEIGHT, SPREAD_WEIGHT, CUT_WEIGHT, VAL_TEST_CUT = 1.0, 0.5, 0.5, 3.0
DIAGONAL = 0.25
SMALL = 64  # up to so many blocks several restarts are cheap


@dataclass(frozen=True)
class BlockTable:
    """The blocks to divide.

    Attributes:
        areas: (B, 1 + classes) pixels with data, then labelled pixels of each class.
        scene: (B,) number of the block's scene.
        place: (B, 2) block row and column within the scene.
        fixed: (B,) split of blocks that are assigned already, FREE for the others.
    """

    areas: NDArray[np.float64]
    scene: NDArray[np.int64]
    place: NDArray[np.int64]
    fixed: NDArray[np.int64]


def assign(table: BlockTable, fractions: tuple[float, float, float], seed: int) -> NDArray[np.int64]:
    """Return the split of every block, (B,); fixed blocks keep theirs.

    The score to be minimised adds, relative to the wanted fractions, the deviation of each split's area and of
    each class in it, the deviation of its class density from the whole, the unevenness between scenes, and
    the length of the border between splits (along which the buffer costs windows). Found by seeded hill climbing
    over moves and swaps; a method for stratified block splits, in the spirit of Sechidis et al. 2011 (iterative
    stratification) with a compactness term.
    """
    free = np.flatnonzero(table.fixed == FREE)
    if not len(free):
        return table.fixed.copy()
    rng = np.random.default_rng(seed)
    search = _Search(table, np.asarray(fractions, dtype=float), rng)
    restarts = 8 if len(free) <= SMALL else 1
    results = [search.climb(free) for _ in range(restarts)]
    return min(results, key=lambda result: result[0])[1]


class _Search:
    def __init__(self, table: BlockTable, fractions: NDArray[np.float64], rng: np.random.Generator) -> None:
        self._table = table
        self._fractions = fractions
        self._rng = rng
        self._wanted = [split for split in (TRAIN, VAL, TEST) if fractions[split] > 0]
        self._totals = np.maximum(table.areas.sum(axis=0), 1e-9)
        self._has = table.areas > 0
        # a class can be in every split only when at least as many blocks hold it
        self._must_have = self._has.sum(axis=0) >= len(self._wanted)
        self._scenes = int(table.scene.max()) + 1
        scene_areas = np.bincount(table.scene, table.areas[:, 0], minlength=self._scenes)
        self._scene_areas = np.maximum(scene_areas, 1e-9)
        self._edges = _neighbours(table)
        held_out = (fractions[VAL] + fractions[TEST]) * len(table.scene)
        self._cut_scale = CUT_WEIGHT / max(4.0 * held_out, 1.0)

    def climb(self, free: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
        """Start at random, then keep every move or swap that does not worsen the score."""
        splits = self._start(free)
        sums = self._sums(splits)
        scene_sums = self._scene_sums(splits)
        cut = self._whole_cut(splits)
        best = self._score(sums, scene_sums, cut)
        for _ in range(min(500 + 60 * len(free), 60_000)):
            i = int(self._rng.choice(free))
            target = int(self._rng.choice(self._wanted))
            changes = {i: target}
            if self._rng.random() < 0.5:
                j = int(self._rng.choice(free))
                if splits[j] == target and i != j:
                    changes[j] = int(splits[i])
            if splits[i] == target:
                continue
            cut_change = self._change(splits, sums, scene_sums, changes)
            score = self._score(sums, scene_sums, cut + cut_change)
            if score <= best:
                best, cut = score, cut + cut_change
            else:
                back = {block: old for block, old in self._undo}
                self._change(splits, sums, scene_sums, back)
        return best, splits

    def _start(self, free: NDArray[np.int64]) -> NDArray[np.int64]:
        splits = self._table.fixed.copy()
        order = self._rng.permutation(free)
        splits[order] = TRAIN if TRAIN in self._wanted else self._wanted[0]
        count = 0
        for split in (TEST, VAL):
            take = round(float(self._fractions[split]) * len(order))
            splits[order[count : count + take]] = split
            count += take
        return splits

    def _sums(self, splits: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = np.zeros((3, self._table.areas.shape[1] * 2))
        np.add.at(sums, splits, np.hstack([self._table.areas, self._has]))
        return sums

    def _scene_sums(self, splits: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = np.zeros((self._scenes, 3))
        np.add.at(sums, (self._table.scene, splits), self._table.areas[:, 0])
        return sums

    def _whole_cut(self, splits: NDArray[np.int64]) -> float:
        return sum(
            _cost(splits[i], splits[j]) * length for i, edges in enumerate(self._edges) for j, length in edges if i < j
        )

    def _change(
        self,
        splits: NDArray[np.int64],
        sums: NDArray[np.float64],
        scene_sums: NDArray[np.float64],
        changes: dict[int, int],
    ) -> float:
        """Apply changes in place, remember how to undo them, and return the change of the cut."""
        areas, cut = self._table.areas, 0.0
        self._undo = [(block, int(splits[block])) for block in changes]
        for block, new in changes.items():
            old = int(splits[block])
            row = np.concatenate([areas[block], self._has[block]])
            sums[old] -= row
            sums[new] += row
            scene_sums[self._table.scene[block], old] -= areas[block, 0]
            scene_sums[self._table.scene[block], new] += areas[block, 0]
            for other, length in self._edges[block]:
                cut += (_cost(new, splits[other]) - _cost(old, splits[other])) * length
            splits[block] = new
        return cut

    def _score(self, sums: NDArray[np.float64], scene_sums: NDArray[np.float64], cut: float) -> float:
        columns = self._table.areas.shape[1]
        wanted, goal = self._wanted, self._fractions[self._wanted][:, None]
        counts = np.round(sums[wanted, columns:])
        shares = sums[wanted, :columns] / self._totals
        missing = (counts < 1) & self._must_have
        score = MISSING_SPLIT * missing[:, 0].sum() + MISSING_CLASS * missing[:, 1:].sum()
        score += ((shares / goal - 1) ** 2).mean(axis=1).sum()
        if columns > 1:
            density = shares[:, 1:] / np.maximum(shares[:, :1], 1e-9)
            known = self._has[:, 1:].any(axis=0)
            score += DENSITY_WEIGHT * (((density - 1) ** 2) * known).mean(axis=1).sum()
        per_scene = scene_sums[:, wanted] / self._scene_areas[:, None]
        weights = self._scene_areas / self._scene_areas.sum()
        uneven = (np.abs(per_scene - goal.T) * weights[:, None]).sum()
        return float(score + SPREAD_WEIGHT * uneven + self._cut_scale * cut)


def _cost(a: int, b: int) -> float:
    if a == b:
        return 0.0
    return VAL_TEST_CUT if TRAIN not in {a, b} else 1.0


def _neighbours(table: BlockTable) -> list[list[tuple[int, float]]]:
    """Return for each block its neighbours in the same scene and the weight of their common border."""
    where = {
        (int(scene), int(row), int(col)): i
        for i, (scene, (row, col)) in enumerate(zip(table.scene, table.place, strict=True))
        if table.areas[i, 0] > 0
    }
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    result: list[list[tuple[int, float]]] = [[] for _ in table.scene]
    for (scene, row, col), i in where.items():
        for down, right in steps:
            j = where.get((scene, row + down, col + right))
            if j is not None:
                result[i].append((j, DIAGONAL if down and right else 1.0))
    return result
