from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satseg.errors import BadDataError
from satseg.scenes.raster import open_scene, reflected


def test_a_window_inside_equals_the_slice(write_raster, pixels):
    with open_scene(write_raster("a.tif", pixels)) as scene:
        window = scene.read(10, 20, 30, 40)
        assert (scene.height, scene.width, scene.count, scene.dtype) == (70, 90, 3, "uint8")
    assert window.shape == (30, 40, 3)
    assert np.array_equal(window, pixels[10:40, 20:60])
    assert window.flags.c_contiguous


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corner=st.tuples(st.integers(-100, 100), st.integers(-100, 120)), size=st.tuples(*[st.integers(1, 200)] * 2))
def test_reflection_at_the_edges_equals_numpy_pad(write_raster, pixels, corner, size):
    (row, col), (height, width), margin = corner, size, 320
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    with open_scene(write_raster("a.tif", pixels)) as scene:
        window = scene.read(row, col, height, width)
    expected = padded[margin + row : margin + row + height, margin + col : margin + col + width]
    assert np.array_equal(window, expected)


def test_reflection_of_one_pixel_repeats_it():
    assert reflected(-3, 5, 1).tolist() == [0] * 5


def test_without_padding_the_window_is_cut_at_the_edges(write_raster, pixels):
    with open_scene(write_raster("a.tif", pixels)) as scene:
        assert np.array_equal(scene.read(-5, 80, 20, 20, pad="none"), pixels[:15, 80:])
        with pytest.raises(ValueError, match="lies outside"):
            scene.read(70, 0, 5, 5, pad="none")


def test_valid_mask_is_false_at_nodata_and_outside(write_raster, pixels):
    pixels[5, 6] = 0
    pixels[7, 8, 0] = 0  # data in the other bands
    with open_scene(write_raster("a.tif", pixels, nodata=0)) as scene:
        mask = scene.valid_mask(-2, -2, 20, 20)
    expected = np.zeros((20, 20), dtype=bool)
    expected[2:, 2:] = True
    expected[7, 8] = False
    assert np.array_equal(mask, expected)


def test_nan_is_no_data_even_without_a_nodata_value(write_raster):
    image = np.ones((16, 16, 1), dtype=np.float32)
    image[3, 4] = np.nan
    with open_scene(write_raster("a.tif", image)) as scene:
        mask = scene.valid_mask(0, 0, 16, 16)
    assert not mask[3, 4]
    assert mask.sum() == 255


def test_a_text_file_is_refused_with_its_path(tmp_path: Path):
    path = tmp_path / "notes.tif"
    path.write_text("not a raster")
    with pytest.raises(BadDataError, match=r"notes\.tif cannot be opened as a raster"), open_scene(path):
        pass
