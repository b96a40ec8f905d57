"""Which block goes to which split: a seeded search for a balanced, compact, well spread assignment."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from satseg.patches.block_table import FREE, TEST, TRAIN, VAL, BlockTable, Edges, joined, neighbours, squares

MISSING_SPLIT, MISSING_CLASS = 1000.0, 10.0
AREA_WEIGHTS = (3.0, 1.0, 1.0)  # of train, val, test
DENSITY_WEIGHT, SPREAD_WEIGHT, VAL_TEST_WEIGHT = 1.0, 0.3, 1.0
SMALL, RESTARTS = 64, 6  # up to so many blocks several starts are cheap
PATIENCE, MOST_MOVES = 12, 60_000  # moves per block without gain until a climb ends
TINY = 1e-9


def assign(table: BlockTable, fractions: tuple[float, float, float], seed: int) -> NDArray[np.int64]:
    """Return the split of every block, (B,); fixed blocks keep theirs.

    The score to be minimised adds, relative to the wanted fractions: how far the area of each split and of each
    class in it is off, for train counted over the windows the buffer leaves; how far the class density of each
    split is from the whole; the unevenness between scenes; and the border between val and test, along which the
    buffer costs val windows. It is found by seeded hill climbing over moves and swaps: stratification as in
    Sechidis et al. 2011, "On the stratification of multi-label data", with a spatial cost.

    Of very many blocks, squares of neighbours are assigned together first; then only blocks with a class that some
    split lacks are moved on their own.
    """
    units = squares(table)
    if units is None:
        return _assign(table, neighbours(table), fractions, seed)
    splits = assign_together(table, units, fractions, seed)
    return _completed(table, splits, fractions, seed)


def assign_together(
    table: BlockTable, units: NDArray[np.int64], fractions: tuple[float, float, float], seed: int
) -> NDArray[np.int64]:
    """Do what `assign` does with the blocks of a unit, (B,) numbered from 0, kept in one split."""
    together, edges = joined(table, units)
    return _assign(together, edges, fractions, seed)[units]


def _completed(
    table: BlockTable, splits: NDArray[np.int64], fractions: tuple[float, float, float], seed: int
) -> NDArray[np.int64]:
    """Return the splits after moving blocks with a class that a split lacks though enough blocks hold it."""
    wanted = [split for split in (TRAIN, VAL, TEST) if fractions[split] > 0]
    has = table.areas > 0
    lacking = [
        column
        for column in range(has.shape[1])
        if has[:, column].sum() >= len(wanted) and any(not has[splits == split, column].any() for split in wanted)
    ]
    holders = has[:, lacking].any(axis=1) & (table.fixed == FREE)
    if not holders.any():
        return splits
    fixed = np.where(holders, FREE, splits)
    search = _Search(replace(table, fixed=fixed), neighbours(table), fractions, np.random.default_rng(seed))
    return np.array(search.climb(splits.tolist())[1], dtype=np.int64)


def _assign(table: BlockTable, edges: Edges, fractions: tuple[float, float, float], seed: int) -> NDArray[np.int64]:
    free = np.flatnonzero(table.fixed == FREE)
    if not len(free):
        return table.fixed.copy()
    search = _Search(table, edges, fractions, np.random.default_rng(seed))
    best, splits = search.climb(search.start())
    for _ in range(RESTARTS - 1 if len(free) <= SMALL else 0):
        score, found = search.climb(search.start())
        if abs(score - best) < TINY:
            break  # the same from another start: hardly to be beaten
        if score < best:
            best, splits = score, found
    return np.array(splits, dtype=np.int64)


class _State:
    """An assignment and the sums its score is made of, kept up to date move by move.

    The sums are plain lists: a search does ten thousands of tiny additions, for which NumPy calls cost too much.
    """

    def __init__(self, table: BlockTable, edges: Edges, goal: list[float], splits: list[int]) -> None:
        self._amounts: list[list[float]] = np.hstack([table.areas, table.areas > 0]).tolist()
        self._scene: list[int] = table.scene.tolist()
        self._edges = edges
        self._goal = goal
        self._probes = table.probes
        self.splits = [TRAIN] * len(splits)
        columns = len(self._amounts[0])
        self.sums = [[0.0] * columns for _ in range(3)]
        self.sums[TRAIN] = np.sum(self._amounts, axis=0).tolist()
        scene_areas = np.bincount(table.scene, table.areas[:, 0])
        self._scene_total: list[float] = (scene_areas + TINY).tolist()
        self._all = float(scene_areas.sum()) + TINY
        self._scene_sums = [[area, 0.0, 0.0] for area in scene_areas.tolist()]
        self.uneven = sum(self._unevenness(scene) for scene in range(len(self._scene_sums)))
        self.val_test_border = 0.0
        self.train_windows = table.probes.areas.sum(axis=0)
        self._held_out_near = np.zeros(len(table.probes.areas), dtype=np.int64)
        self.apply({block: split for block, split in enumerate(splits) if split != TRAIN})

    def apply(self, changes: dict[int, int]) -> dict[int, int]:
        """Move blocks to other splits; returns the changes that undo it."""
        undo = {block: self.splits[block] for block in changes}
        for block, new in changes.items():
            old, amounts, scene = self.splits[block], self._amounts[block], self._scene[block]
            before, after = self.sums[old], self.sums[new]
            for column, amount in enumerate(amounts):
                before[column] -= amount
                after[column] += amount
            self.uneven -= self._unevenness(scene)
            self._scene_sums[scene][old] -= amounts[0]
            self._scene_sums[scene][new] += amounts[0]
            self.uneven += self._unevenness(scene)
            for other, length in self._edges[block]:
                neighbour = self.splits[other]
                if neighbour != TRAIN:
                    opposite = VAL + TEST - neighbour
                    self.val_test_border += length * ((new == opposite) - (old == opposite))
            self._hold_out(block, (new != TRAIN) - (old != TRAIN))
            self.splits[block] = new
        return undo

    def _unevenness(self, scene: int) -> float:
        total = self._scene_total[scene]
        off = 0.0
        for part, goal in zip(self._scene_sums[scene], self._goal, strict=True):
            off += abs(part / total - goal)
        return off * total / self._all

    def _hold_out(self, block: int, change: int) -> None:
        near = self._probes.near[block]
        if change > 0:
            self.train_windows -= self._probes.areas[near[self._held_out_near[near] == 0]].sum(axis=0)
        if change:
            self._held_out_near[near] += change
        if change < 0:
            self.train_windows += self._probes.areas[near[self._held_out_near[near] == 0]].sum(axis=0)


class _Search:
    """Hill climbing over the blocks that are free."""

    def __init__(
        self, table: BlockTable, edges: Edges, fractions: tuple[float, float, float], rng: np.random.Generator
    ) -> None:
        self._table = table
        self._goal = list(fractions)
        self._rng = rng
        self._free: list[int] = np.flatnonzero(table.fixed == FREE).tolist()
        self._wanted = [split for split in (TRAIN, VAL, TEST) if fractions[split] > 0]
        self._edges = edges
        has = table.areas > 0
        self._totals: list[float] = np.maximum(table.areas.sum(axis=0), TINY).tolist()
        self._window_totals: list[float] = np.maximum(table.probes.areas.sum(axis=0), TINY).tolist()
        # a class can be in every split only when at least as many blocks hold it
        self._must_have = [int(count) >= len(self._wanted) for count in has.sum(axis=0)]
        self._known = [int(count) > 0 for count in has.sum(axis=0)]
        held_out = (fractions[VAL] + fractions[TEST]) * len(table.scene)
        self._border_scale = VAL_TEST_WEIGHT / max(held_out, 1.0)

    def climb(self, start: list[int]) -> tuple[float, list[int]]:
        """Keep every move or swap that does not worsen the score; returns score and splits."""
        state = _State(self._table, self._edges, self._goal, start)
        best, since = self._score(state), 0
        free, wanted = self._free, self._wanted
        patience = 50 + PATIENCE * len(free)
        for _ in range(min(10 * patience, MOST_MOVES)):
            first, second, third = self._rng.random(3)
            i, target = free[int(first * len(free))], wanted[int(second * len(wanted))]
            if state.splits[i] == target:
                continue
            changes = {i: target}
            j = free[int(third * len(free))]
            if state.splits[j] == target:
                changes[j] = state.splits[i]
            undo = state.apply(changes)
            score = self._score(state)
            since = 0 if score < best - TINY else since + 1
            if score <= best:
                best = score
            else:
                state.apply(undo)
            if since > patience:
                break
        return best, state.splits

    def start(self) -> list[int]:
        """Return a random assignment with about the wanted number of blocks in each split."""
        splits: list[int] = self._table.fixed.tolist()
        order: list[int] = self._rng.permutation(self._free).tolist()
        counts = [round(self._goal[split] * len(order)) for split in (TEST, VAL)]
        for place, block in enumerate(order):
            splits[block] = TEST if place < counts[0] else VAL if place < sum(counts) else self._wanted[0]
        return splits

    def _score(self, state: _State) -> float:
        columns = len(self._totals)
        score = SPREAD_WEIGHT * state.uneven + self._border_scale * state.val_test_border
        windows = state.train_windows.tolist()
        for split in self._wanted:
            sums, goal = state.sums[split], self._goal[split]
            for column in range(columns):
                share = sums[column] / self._totals[column]
                if split == TRAIN:
                    share = min(share, windows[column] / self._window_totals[column])
                score += AREA_WEIGHTS[split] * (share / goal - 1) ** 2 / columns
                if self._must_have[column] and sums[columns + column] < 0.5:
                    score += MISSING_SPLIT if column == 0 else MISSING_CLASS
                if column == 0:
                    area = max(share, TINY)
                elif self._known[column]:
                    score += DENSITY_WEIGHT * min((share / area - 1) ** 2, MISSING_CLASS) / (columns - 1)
        return score
