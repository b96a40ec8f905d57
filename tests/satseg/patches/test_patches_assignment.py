"""Which block goes to which split."""

import numpy as np

from satseg.patches.assignment import assign
from satseg.patches.block_table import FREE, TEST, TRAIN, VAL, BlockTable, joined, neighbours
from satseg.patches.probes import Probes, join, probe_scene
from satseg.patches.windows import Block, Margin, Window, block_grid, rects_of, too_close

FRACTIONS = (0.65, 0.15, 0.2)


def table(rows: int, cols: int, shares: np.ndarray, fixed: dict[int, int] | None = None) -> BlockTable:
    """One scene of (rows, cols) blocks of 64 px, with the given class shares (B, classes)."""
    grid = block_grid("s", rows * 64, cols * 64, 64)
    areas = 4096.0 * np.hstack([np.ones((len(grid), 1)), shares])
    places = np.array([(b.top // 64, b.left // 64) for b in grid])
    assigned = np.full(len(grid), FREE)
    for block, split in (fixed or {}).items():
        assigned[block] = split
    probes = probe_scene(grid, areas, 32, Margin(4, 4))
    return BlockTable(areas, np.zeros(len(grid), dtype=np.int64), places, assigned, probes)


def test_three_blocks_give_one_to_each_split() -> None:
    splits = assign(table(1, 3, np.full((3, 1), 0.2)), FRACTIONS, seed=0)
    assert sorted(splits) == [TRAIN, VAL, TEST]


def test_shares_of_area_and_class_come_near_the_fractions() -> None:
    rng = np.random.default_rng(1)
    shares = np.clip(rng.normal(0.2, 0.2, (36, 1)), 0, 1)
    splits = assign(table(6, 6, shares), FRACTIONS, seed=0)
    for split, fraction in zip((TRAIN, VAL, TEST), FRACTIONS, strict=True):
        chosen = splits == split
        assert abs(chosen.mean() - fraction) < 0.08
        assert abs(shares[chosen].mean() / shares.mean() - 1) < 0.15


def test_a_rare_class_is_in_every_split() -> None:
    shares = np.full((20, 2), [0.2, 0.0])
    shares[[0, 7, 19], 1] = 0.05
    splits = assign(table(4, 5, shares), FRACTIONS, seed=3)
    assert sorted(splits[[0, 7, 19]]) == [TRAIN, VAL, TEST]


def test_assigned_blocks_keep_their_split() -> None:
    fixed = {0: TEST, 1: TEST, 5: VAL, 9: TRAIN}
    splits = assign(table(4, 4, np.full((16, 1), 0.3), fixed), FRACTIONS, seed=0)
    assert all(splits[block] == split for block, split in fixed.items())


def test_nothing_is_held_out_for_a_fraction_of_zero() -> None:
    splits = assign(table(4, 4, np.full((16, 1), 0.3)), (0.8, 0.0, 0.2), seed=0)
    assert VAL not in splits
    assert TEST in splits


def test_the_same_seed_gives_the_same_splits() -> None:
    shares = np.random.default_rng(0).random((16, 1))
    first, again = (assign(table(4, 4, shares), FRACTIONS, seed=0) for _ in range(2))
    assert (first == again).all()


def test_held_out_blocks_lie_together_where_the_buffer_costs_windows() -> None:
    splits = assign(table(6, 6, np.full((36, 1), 0.3)), FRACTIONS, seed=0).reshape(6, 6) == TRAIN
    border = (splits[1:] != splits[:-1]).sum() + (splits[:, 1:] != splits[:, :-1]).sum()
    scattered = 2 * 30 * 2 * 0.65 * 0.35  # expected when blocks are drawn one by one
    assert border < 0.8 * scattered


def test_probes_are_near_exactly_the_blocks_they_come_too_close_to() -> None:
    grid = block_grid("s", 150, 220, 64)
    areas = np.random.default_rng(0).random((len(grid), 2))
    for margin in (Margin(0, 0), Margin(5, 9)):
        probes = probe_scene(grid, areas, 32, margin)
        rects = rects_of([Window(r, c, "", "") for r in _starts(150) for c in _starts(220)], 32)
        assert len(rects) == len(probes.areas)
        for block, near in zip(grid, probes.near, strict=True):
            expected = np.flatnonzero(too_close(np.array(block[1:]), rects, margin))
            assert near.tolist() == expected.tolist()
        assert np.allclose(probes.areas, [_content(rect, grid, areas) for rect in rects])


def _starts(extent: int) -> list[int]:
    starts = list(range(0, extent - 31, 8))
    return starts if starts[-1] == extent - 32 else [*starts, extent - 32]


def _content(rect: np.ndarray, grid: list[Block], areas: np.ndarray) -> np.ndarray:
    total = np.zeros(areas.shape[1])
    for block, area in zip(grid, areas, strict=True):
        rows = max(0, min(rect[2], block.bottom) - max(rect[0], block.top))
        cols = max(0, min(rect[3], block.right) - max(rect[1], block.left))
        total += area * rows * cols / ((block.bottom - block.top) * (block.right - block.left))
    return total


def test_joined_probes_count_on() -> None:
    part = Probes(np.ones((3, 1)), [np.array([0, 2])])
    assert join([part, part]).near[1].tolist() == [3, 5]


def many(side: int, classes: int = 1, seed: int = 0) -> BlockTable:
    rng = np.random.default_rng(seed)
    return table(side, side, np.clip(rng.normal(0.2, 0.15, (side * side, classes)), 0.01, 1))


def test_very_many_blocks_are_divided_in_squares_near_the_fractions() -> None:
    blocks = many(24)
    splits = assign(blocks, FRACTIONS, seed=0)
    for split, fraction in zip((TRAIN, VAL, TEST), FRACTIONS, strict=True):
        assert abs((splits == split).mean() - fraction) < 0.05
        chosen = blocks.areas[splits == split]
        assert abs(chosen[:, 1].sum() / chosen[:, 0].sum() / 0.205 - 1) < 0.1
    grid = splits.reshape(24, 24) == TRAIN
    assert (grid[1:] != grid[:-1]).sum() + (grid[:, 1:] != grid[:, :-1]).sum() < 0.5 * 2 * 24 * 23 * 2 * 0.65 * 0.35


def test_a_class_in_three_of_very_many_blocks_is_in_every_split() -> None:
    shares = np.full((400, 2), [0.2, 0.0])
    shares[[5, 6, 7], 1] = 0.05  # neighbours, which one square may hold
    splits = assign(table(20, 20, shares), FRACTIONS, seed=0)
    assert sorted(splits[[5, 6, 7]]) == [TRAIN, VAL, TEST]


def test_fixed_blocks_among_very_many_keep_their_split() -> None:
    fixed = {3: TEST, 77: VAL, 399: TEST}
    splits = assign(table(20, 20, np.full((400, 1), 0.3), fixed), FRACTIONS, seed=0)
    assert all(splits[block] == split for block, split in fixed.items())


def test_borders_of_units_are_those_of_their_blocks() -> None:
    blocks = many(7)
    units = np.random.default_rng(0).integers(0, 5, 49)
    _, edges = joined(blocks, units)
    expected: dict[tuple[int, int], float] = {}
    for block, near in enumerate(neighbours(blocks)):
        for other, length in near:
            if units[block] != units[other]:
                key = (int(units[block]), int(units[other]))
                expected[key] = expected.get(key, 0.0) + length
    assert {(unit, other): length for unit, near in enumerate(edges) for other, length in near} == expected
