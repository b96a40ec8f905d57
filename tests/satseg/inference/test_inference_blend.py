import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.inference.blend import blend
from satseg.inference.windows import hann, plan_windows, read_ahead, read_strips


class ArrayRows:
    """A scene in memory."""

    def __init__(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> None:
        self.pixels, self.height, self.width = pixels, *pixels.shape[:2]
        self.valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
        self.rows_read = 0

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        self.rows_read += stop - start
        return self.pixels[start:stop], self.valid[start:stop]


def window_dependent(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return two channels that depend on the place in the window: blending errors cannot hide."""
    ramp = np.linspace(0, 1, images.shape[1], dtype=np.float32)
    place = ramp[None, :, None, None] * ramp[None, None, :, None]
    first = 1 / (1 + np.exp(-images[..., :1] * (0.5 + place)))
    return np.concatenate([first, 1 - first * place], axis=-1).astype(np.float32)


def whole_scene_reference(pixels: NDArray[np.float32], window_px: int, overlap: float) -> NDArray[np.float64]:
    """Pad the whole scene by NumPy, add all windows one by one in float64, divide by the summed weights."""
    height, width, _ = pixels.shape
    stride = max(1, round(window_px * (1 - overlap)))
    margin = (window_px - stride) // 2
    rows = [-margin]
    while rows[-1] + window_px < height + margin:
        rows.append(rows[-1] + stride)
    columns = [-margin]
    while columns[-1] + window_px < width + margin:
        columns.append(columns[-1] + stride)
    bottom, right = rows[-1] + window_px - height, columns[-1] + window_px - width
    padded = np.pad(pixels, ((margin, bottom), (margin, right), (0, 0)), mode="reflect")
    weights = np.outer(hann(window_px), hann(window_px)).astype(np.float64)[..., None]
    sums, total = np.zeros((*padded.shape[:2], 2)), np.zeros((*padded.shape[:2], 1))
    for row in rows:
        for column in columns:
            part = np.s_[row + margin : row + margin + window_px, column + margin : column + margin + window_px]
            sums[part] += window_dependent(padded[part][None])[0] * weights
            total[part] += weights
    return (sums / total)[margin : margin + height, margin : margin + width]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    window_px=st.sampled_from([32, 64]),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.66, 0.75, 0.9]),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_streamed_blending_equals_the_whole_scene_in_memory(  # noqa: PLR0917 - hypothesis passes keywords
    height: int, width: int, window_px: int, overlap: float, batch_size: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    grid = plan_windows(height, width, window_px, overlap)
    strips = read_ahead(read_strips(ArrayRows(pixels), grid))
    parts = list(blend(strips, grid, window_dependent, 2, batch_size))
    assert [part.row for part in parts] == list(np.cumsum([0, *(len(part.valid) for part in parts)])[:-1])
    blended = np.concatenate([part.probabilities for part in parts])
    np.testing.assert_allclose(blended, whole_scene_reference(pixels, window_px, overlap), atol=1e-5)


def test_a_last_strip_that_is_all_mirror_image_but_for_one_row() -> None:
    pixels = np.arange(129, dtype=np.float32)[:, None, None]
    last = list(read_strips(ArrayRows(pixels), plan_windows(129, 1, 32, 0.0)))[-1]
    assert last.images[:, 0, 0].tolist() == list(range(128, 96, -1))


def test_pixels_without_data_are_marked_and_windows_without_data_are_not_predicted() -> None:
    valid = np.zeros((100, 300), bool)
    valid[10:50, 250:] = True
    source, seen = ArrayRows(np.ones((100, 300, 1), np.float32), valid), []
    grid = plan_windows(100, 300, 32, 0.5)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(len(images))
        return np.full((*images.shape[:3], 1), 0.7, np.float32)

    parts = list(blend(read_strips(source, grid), grid, predict, 1, 8))
    assert (np.concatenate([part.valid for part in parts]) == valid).all()
    np.testing.assert_allclose(np.concatenate([part.probabilities for part in parts])[valid], 0.7, atol=1e-6)
    assert sum(seen) < 0.3 * len(grid.rows) * len(grid.cols)


def test_each_row_of_the_scene_is_read_about_once() -> None:
    source = ArrayRows(np.zeros((1000, 40, 1), np.float32))
    list(read_strips(source, plan_windows(1000, 40, 64, 0.75)))
    assert source.rows_read < 1100


def test_edge_pixels_weigh_as_much_as_inner_ones() -> None:
    grid = plan_windows(500, 500, 64, 0.5)
    at_edge = sum(hann(64)[0 - start] for start in grid.rows if 0 <= 0 - start < 64)
    assert at_edge > 0.4


def test_nan_from_the_model_is_an_error_that_names_the_rows() -> None:
    source = ArrayRows(np.zeros((40, 40, 1), np.float32))
    grid = plan_windows(40, 40, 32, 0.5)

    def broken(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((*images.shape[:3], 1), np.nan, np.float32)

    with pytest.raises(BadDataError, match=r"NaN or infinite probabilities in rows 0 to 7"):
        list(blend(read_strips(source, grid), grid, broken, 1, 4))


def test_an_error_while_reading_ahead_reaches_the_consumer() -> None:
    class Damaged(ArrayRows):
        def read_rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            if stop > 60:
                raise BadDataError("rows from 60 on are damaged")
            return super().read_rows(start, stop)

    strips = read_ahead(read_strips(Damaged(np.zeros((200, 40, 1), np.float32)), plan_windows(200, 40, 32, 0.5)))
    with pytest.raises(BadDataError, match="damaged"):
        list(strips)
