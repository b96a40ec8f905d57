"""Parts of a map predicted by themselves are the same numbers as in the whole map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from satseg.inference.blend import blend
from satseg.inference.parts import PART_ROWS, Layout, plan_layout
from satseg.inference.symmetries import SYMMETRIES, with_symmetries
from satseg.inference.windows import WEIGHTS, Region, WindowGrid, plan_windows, read_strips


class Columns:
    """A scene in memory of which some columns are read."""

    def __init__(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], columns: range) -> None:
        self.pixels, self.valid = pixels[:, columns.start : columns.stop], valid[:, columns.start : columns.stop]
        self.height, self.width = pixels.shape[:2]

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return self.pixels[start:stop], self.valid[start:stop]


def place_dependent(images: NDArray[np.float32]) -> NDArray[np.float32]:
    ramp = np.linspace(0, 1, images.shape[1], dtype=np.float32)
    place = ramp[None, :, None, None] * ramp[None, None, :, None]
    return (1 / (1 + np.exp(-images[..., :1] * (0.5 + place)))).astype(np.float32)


def blended(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], grid: WindowGrid, batch_size: int, weighting: str
) -> NDArray[np.float32]:
    strips = read_strips(Columns(pixels, valid, grid.columns), grid)
    rows = list(blend(strips, grid, place_dependent, 1, batch_size, weighting=weighting))
    assert (
        np.concatenate([part.valid for part in rows]) == valid[slice(*grid.wanted[:2]), slice(*grid.wanted[2:])]
    ).all()
    return np.concatenate([part.probabilities for part in rows])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    overlap=st.sampled_from([0.0, 0.2, 0.5, 0.75, 0.9]),
    cuts=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2),
    batch_size=st.integers(1, 7),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    seed=st.integers(0, 99),
)
def test_any_split_gives_the_bits_of_the_whole(  # noqa: PLR0917 - hypothesis passes keywords
    size: tuple[int, int], overlap: float, cuts: list[float], batch_size: int, weighting: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(*size, 2)).astype(np.float32)
    valid = rng.random(size) < 0.5 if seed % 2 else np.ones(size, bool)
    grid = plan_windows(*size, 32, overlap)
    whole = blended(pixels, valid, grid, 8, weighting)
    row, column = (round(cut * length) for cut, length in zip(cuts, size, strict=True))
    for top, bottom in ((0, row), (row, size[0])):
        for left, right in ((0, column), (column, size[1])):
            if bottom > top and right > left:
                part = grid.part(Region(top, bottom, left, right))
                found = blended(pixels, valid, part, batch_size, weighting)
                seen = valid[top:bottom, left:right]
                assert (found[seen] == whole[top:bottom, left:right][seen]).all()


def test_the_model_is_always_called_with_whole_batches_that_span_rows_of_windows() -> None:
    grid, calls = plan_windows(300, 40, 32, 0.5), []

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(images.shape)
        return np.zeros((*images.shape[:3], 1), np.float32)

    pixels = np.zeros((300, 40, 1), np.float32)
    list(blend(read_strips(Columns(pixels, np.ones((300, 40), bool), grid.columns), grid), grid, predict, 1, 16))
    windows = len(grid.rows) * len(grid.cols)
    assert len(grid.cols) < 16
    assert calls == [(16, 32, 32, 1)] * -(-windows // 16)


@pytest.mark.parametrize("name", sorted(SYMMETRIES))
def test_symmetries_are_undone_before_the_mean(name: str) -> None:
    images = np.random.default_rng(0).random((3, 32, 32, 2)).astype(np.float32)
    same = with_symmetries(lambda windows: windows[..., :1], name)(images)
    np.testing.assert_allclose(same, images[..., :1], atol=1e-6)


def test_the_mean_over_all_symmetries_does_not_depend_on_the_orientation() -> None:
    images = np.random.default_rng(0).random((1, 32, 32, 1)).astype(np.float32)
    predict = with_symmetries(place_dependent, "all")
    turned = np.rot90(predict(np.rot90(images, 1, (1, 2))), -1, (1, 2))
    np.testing.assert_allclose(turned, predict(images), atol=1e-6)
    assert np.abs(place_dependent(images) - predict(images)).max() > 0.01


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 40_000), width=st.integers(1, 3000), panel=st.integers(1, 6), shares=st.integers(1, 9))
def test_regions_and_shares_cover_a_map_once(height: int, width: int, panel: int, shares: int) -> None:
    layout = Layout(height, width, panel * 512)
    rows = [layout.share(number, shares) for number in range(1, shares + 1)]
    assert [row for share in rows for row in share] == list(range(height))
    assert all(share.start % PART_ROWS == 0 for share in rows if len(share))
    areas = sum((r.bottom - r.top) * (r.right - r.left) for share in rows for r in layout.regions(share))
    assert areas == height * width == sum((p.bottom - p.top) * (p.right - p.left) for p in layout.parts())


def test_a_wide_scene_of_many_bands_is_cut_into_panels_that_fit_into_memory() -> None:
    assert plan_layout(plan_windows(10_000, 10_000, 256, 0.5), 3, 1, 1).panel_px == 10_000
    wide = plan_layout(plan_windows(100, 65_536, 256, 0.5), 12, 2, 8)
    assert 4096 <= wide.panel_px < 10_000
    assert wide.panel_px % 512 == 0
