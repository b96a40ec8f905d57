"""Where windows lie: coverage, and the buffer, against a slow reference."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from satseg.config.patches import Edge, PatchConfig
from satseg.patches.scene_layout import SceneLayout
from satseg.patches.windows import (
    HeldOut,
    Margin,
    SceneBlocks,
    Window,
    axis_edges,
    axis_starts,
    block_grid,
    held_out_starts,
    held_out_windows,
    no_rects,
    too_close,
)


def within_reach(windows: list[Window], blocks: SceneBlocks, size: int, margin: Margin) -> np.ndarray:
    """Paint every pixel that is nearer than the margin to a window."""
    pad = 64
    painted = np.zeros((blocks.height + 2 * pad, blocks.width + 2 * pad), dtype=bool)
    for w in windows:
        top, left = w.row + pad - margin.rows, w.col + pad - margin.cols
        painted[top : top + size + 2 * margin.rows, left : left + size + 2 * margin.cols] = True
    return painted[pad:, pad:]


def layout(  # noqa: PLR0917
    blocks: SceneBlocks, size: int, stride: int, margin: Margin, foreign: HeldOut | None = None, edge: Edge = "shift"
) -> list[Window]:
    config = PatchConfig(size_px=size, stride_px=stride, block_px=size * 8, edge=edge)
    return list(SceneLayout(blocks, foreign or HeldOut(no_rects(), no_rects()), margin, config).windows())


@st.composite
def divided_scenes(draw: st.DrawFn) -> tuple[SceneBlocks, int, int, Margin]:
    size = 32
    block = size * draw(st.integers(1, 3))
    height, width = draw(st.integers(20, 230)), draw(st.integers(20, 230))
    grid = block_grid("s", height, width, block)
    splits = {b.name: draw(st.sampled_from(["train", "train", "val", "test"])) for b in grid}
    margin = Margin(draw(st.integers(0, 40)), draw(st.integers(0, 40)))
    return SceneBlocks(height, width, grid, splits), size, draw(st.integers(16, 32)), margin


@settings(max_examples=80, deadline=None)
@given(divided_scenes(), st.sampled_from(["shift", "pad", "drop"]))
def test_no_kept_window_comes_within_the_buffer_of_a_held_out_one(
    case: tuple[SceneBlocks, int, int, Margin], edge: Edge
) -> None:
    blocks, size, stride, margin = case
    windows = layout(blocks, size, stride, margin, edge=edge)
    kept = {split: [w for w in windows if w.split == split and not w.reason] for split in ("train", "val", "test")}
    for split, held in (("train", kept["val"] + kept["test"]), ("val", kept["test"])):
        forbidden = within_reach(held, blocks, size, margin)
        for w in kept[split]:
            assert not forbidden[w.row : w.row + size, w.col : w.col + size].any()


@settings(max_examples=40, deadline=None)
@given(divided_scenes())
def test_windows_stay_in_the_scene_once_each_and_in_a_block_of_their_split(
    case: tuple[SceneBlocks, int, int, Margin],
) -> None:
    blocks, size, stride, margin = case
    windows = layout(blocks, size, stride, margin)
    for window in windows:
        assert 0 <= window.row <= max(0, blocks.height - size)
        assert 0 <= window.col <= max(0, blocks.width - size)
        assert blocks.splits[window.block] == window.split
    kept = [(w.row, w.col, w.split) for w in windows if not w.reason]
    assert len(kept) == len(set(kept))


@settings(max_examples=40, deadline=None)
@given(divided_scenes())
def test_every_free_pixel_a_fitting_window_could_train_on_is_covered(
    case: tuple[SceneBlocks, int, int, Margin],
) -> None:
    """Along a single row of blocks, training uses all ground up to the buffer."""
    blocks, size, stride, margin = case
    grid = [b for b in blocks.blocks if b.top == 0]
    blocks = SceneBlocks(size, blocks.width, [b._replace(bottom=size) for b in grid], blocks.splits)
    windows = layout(blocks, size, stride, margin)
    held = [w for w in windows if w.split != "train"]
    assume(all(not w.reason for w in held))  # ground of a dropped val window belongs to nobody
    centre = {b.name: range(b.left, b.right) for b in grid if blocks.splits[b.name] == "train"}
    wanted, covered = set(), set()
    for col in range(max(1, blocks.width - size + 1)):
        in_train = any(min(col + size // 2, blocks.width - 1) in span for span in centre.values())
        if in_train and all(max(w.col - col - size, col - w.col - size) >= margin.cols for w in held):
            wanted |= set(range(col, col + size))
    for window in windows:
        if window.split == "train" and not window.reason:
            covered |= set(range(window.col, window.col + size))
    assert wanted == covered


@given(st.integers(1, 400), st.integers(1, 64), st.integers(1, 64))
def test_a_grid_covers_every_pixel(extent: int, size: int, stride: int) -> None:
    starts = axis_starts(extent, size, min(stride, size))
    assert {p for s in starts for p in range(s, s + size)} >= set(range(extent))
    assert max(starts) + size == max(extent, size)


@given(st.integers(1, 2000), st.integers(32, 512))
def test_blocks_cover_the_axis_and_none_is_a_sliver(extent: int, block: int) -> None:
    edges = axis_edges(extent, block)
    assert edges[0] == 0
    assert edges[-1] == extent
    lengths = np.diff(edges)
    assert (lengths[:-1] == block).all()
    assert len(lengths) == 1 or block / 2 <= lengths[-1] < 1.5 * block


def test_held_out_windows_of_a_whole_block_do_not_overlap() -> None:
    assert held_out_starts(512, 1024, 2000, 256) == [512, 768]


def test_held_out_windows_of_an_edge_block_are_shifted_inward() -> None:
    assert held_out_starts(1024, 1528, 1528, 256) == [1024, 1272]
    assert held_out_starts(256, 510, 510, 256) == [254]  # a block a little smaller than a window
    assert held_out_starts(0, 100, 100, 256) == [0]  # a scene smaller than a window


def test_held_out_windows_cover_their_block() -> None:
    grid = block_grid("s", 300, 500, 128)
    blocks = SceneBlocks(300, 500, grid, {b.name: "test" for b in grid})
    seen = np.zeros((300, 500), dtype=bool)
    for window in held_out_windows(blocks, "test", 64):
        seen[window.row : window.row + 64, window.col : window.col + 64] = True
    assert seen.all()


def test_a_train_window_moves_up_to_the_buffer_instead_of_being_dropped() -> None:
    grid = block_grid("s", 64, 192, 64)
    blocks = SceneBlocks(64, 192, grid, {"s/0-0": "train", "s/0-1": "train", "s/0-2": "test"})
    windows = layout(blocks, 64, 64, Margin(10, 10))
    train = sorted(w.col for w in windows if w.split == "train" and not w.reason)
    assert train == [0, 54]


def test_val_windows_next_to_test_are_dropped_and_test_stays() -> None:
    grid = block_grid("s", 64, 192, 64)
    blocks = SceneBlocks(64, 192, grid, {"s/0-0": "val", "s/0-1": "test", "s/0-2": "train"})
    windows = layout(blocks, 32, 16, Margin(4, 4))
    dropped = {w.col for w in windows if w.split == "val" and w.reason == "buffer"}
    assert dropped == {32}
    assert all(not w.reason for w in windows if w.split == "test")


def test_held_out_ground_of_another_scene_is_not_trained_on() -> None:
    grid = block_grid("s", 128, 128, 128)
    blocks = SceneBlocks(128, 128, grid, {"s/0-0": "train"})
    foreign = HeldOut(test=np.array([[40, 40, 72, 72]]), val=np.array([[0, 100, 20, 140]]))
    kept = [w for w in layout(blocks, 32, 16, Margin(3, 3), foreign) if not w.reason]
    assert kept
    for rect in (*foreign.test, *foreign.val):
        for w in kept:
            assert (
                w.row + 32 + 3 <= rect[0] or w.row >= rect[2] + 3 or w.col + 32 + 3 <= rect[1] or w.col >= rect[3] + 3
            )


@pytest.mark.parametrize(("height", "width"), [(20, 20), (32, 400), (400, 10)])
def test_narrow_scenes_have_windows(height: int, width: int) -> None:
    grid = block_grid("s", height, width, 64)
    blocks = SceneBlocks(height, width, grid, {b.name: "train" for b in grid})
    windows = layout(blocks, 32, 16, Margin(2, 2))
    assert windows
    assert all(not w.reason for w in windows)


@pytest.mark.parametrize(
    ("margin", "gap", "near"),
    [(0, -1, True), (0, 0, False), (5, 4, True), (5, 5, False), (5, 6, False)],
)
def test_windows_are_too_close_below_the_margin_and_not_at_it(margin: int, gap: int, near: bool) -> None:
    window = np.array([100, 100, 132, 132])
    for row, col in ((132 + gap, 100), (100 - 32 - gap, 100), (100, 132 + gap), (100, 100 - 32 - gap)):
        other = np.array([[row, col, row + 32, col + 32]])
        assert too_close(window, other, Margin(margin, margin)).tolist() == [near]


def test_a_train_window_may_lie_exactly_at_the_buffer_and_not_one_pixel_nearer() -> None:
    grid = block_grid("s", 32, 128, 64)
    blocks = SceneBlocks(32, 128, grid, {"s/0-0": "train", "s/0-1": "test"})
    for margin, last in ((0, 32), (1, 31), (7, 25), (16, 16)):
        train = [w.col for w in layout(blocks, 32, 16, Margin(margin, margin)) if w.split == "train" and not w.reason]
        assert max(train) == last
