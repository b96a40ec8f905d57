import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satseg.scenes import statistics as module
from satseg.scenes.statistics import PixelStatistics, measure, windows


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("nodata", [None, 7])
def test_statistics_equal_numpy_on_the_whole_array(write_raster, dtype, nodata):
    random = np.random.default_rng(4)
    image = random.integers(-30 if dtype in {"int16", "float32"} else 0, 60, (90, 130, 3)).astype(dtype)
    image[10:20, 30:60] = 0
    image[40:50] = 7
    if dtype == "float32":
        image[0, 0] = np.nan
        image[1, 1, 2] = np.inf
    found = measure(write_raster("a.tif", image, nodata=nodata))
    valid = ~(np.isnan(image) | (image == nodata)).all(axis=2)
    assert (found.pixels, found.valid) == (90 * 130, valid.sum())
    assert found.black == ((image == 0).all(axis=2) & valid).sum()
    assert found.infinite == np.isinf(image[valid]).sum()
    for band, figures in enumerate(found.bands()):
        values = image[..., band][valid].astype(np.float64)
        values = values[np.isfinite(values)]
        expected = {"minimum": values.min(), "maximum": values.max(), "mean": values.mean(), "stddev": values.std()}
        assert figures == pytest.approx(expected)


def test_a_mask_decides_where_there_is_one(write_raster, pixels):
    path = write_raster("a.tif", pixels)
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    mask[:20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    found = measure(path)
    assert found.valid == 50 * 90
    assert found.bands()[1]["mean"] == pytest.approx(pixels[20:, :, 1].mean())


def test_sums_of_whole_numbers_do_not_depend_on_the_windows(write_raster, monkeypatch):
    image = np.random.default_rng(1).integers(0, 65536, (700, 1100, 2)).astype(np.uint16)
    path = write_raster("a.tif", image)
    whole = measure(path)
    monkeypatch.setattr(module, "WINDOW_BYTES", 1)
    monkeypatch.setattr(module, "_PIECE", 1000)
    assert measure(path) == whole
    exact = image.reshape(-1, 2).astype(object)
    assert whole.squares == [int((exact[:, band] ** 2).sum()) for band in range(2)]


def test_a_scene_without_valid_pixels_has_no_statistics():
    found = PixelStatistics()
    found.add(np.zeros((2, 4, 4), np.uint8), np.zeros((4, 4), bool))
    assert found.nodata_fraction == 1
    assert found.bands()[0] == {"minimum": 0, "maximum": 0, "mean": 0, "stddev": 0}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 64), st.booleans())
def test_windows_cover_every_pixel_once(width, height, pixel_bytes, tiled):
    covered = np.zeros((height, width), np.uint8)
    for window in windows(width, height, pixel_bytes, tiled):
        rows, cols = window.toslices()
        covered[rows, cols] += 1
        if tiled or height * width * pixel_bytes > 4 * module.WINDOW_BYTES:
            assert window.width * window.height * pixel_bytes <= max(module.WINDOW_BYTES, 512 * 512 * pixel_bytes)
    assert (covered == 1).all()
