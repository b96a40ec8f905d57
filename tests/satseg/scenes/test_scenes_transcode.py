from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from satseg.errors import BadDataError
from satseg.scenes import statistics as module
from satseg.scenes.grid import target_grid
from satseg.scenes.raster import open_scene
from satseg.scenes.recipe import recipe_of_file
from satseg.scenes.source import read_header
from satseg.scenes.transcode import transcode

BANDS = ("red", "green", "blue")


def convert(source: Path, crs: str | None = None, gsd_m: float | None = None, bands: tuple[str, ...] = BANDS):
    recipe = recipe_of_file(source, bands)
    target = source.with_name("scene.tif")
    product = transcode(recipe, target_grid(recipe.grid, crs, gsd_m), target, bands)
    return target, product.statistics


def test_a_scene_that_fits_keeps_every_pixel(write_raster, pixels):
    cog, statistics = convert(write_raster("a.tif", pixels, crs="EPSG:32636"), gsd_m=0.5)
    with open_scene(cog) as scene:
        assert np.array_equal(scene.read(0, 0, 70, 90), pixels)
        assert scene.transform == Affine(0.5, 0, 500_000, 0, -0.5, 40_000)
    for band, found in enumerate(statistics.bands()):
        values = pixels[..., band].astype(float)
        expected = {"minimum": values.min(), "maximum": values.max(), "mean": values.mean(), "stddev": values.std()}
        assert found == pytest.approx(expected)
    assert statistics.nodata_fraction == 0


def test_small_windows_give_the_same_file(write_raster, pixels, monkeypatch):
    image = np.tile(pixels, (16, 13, 1))
    whole, statistics = convert(write_raster("a.tif", image, crs="EPSG:32636", tiled=True))
    first = whole.read_bytes()
    monkeypatch.setattr(module, "WINDOW_BYTES", 1)
    again, small = convert(whole.with_name("a.tif"))
    assert again.read_bytes() == first
    assert (small.pixels, small.minimum, small.finite) == (statistics.pixels, statistics.minimum, statistics.finite)
    assert small.total == pytest.approx(statistics.total)


def test_shrinking_averages_the_pixels(write_raster, pixels):
    cog, _ = convert(write_raster("a.tif", pixels, crs="EPSG:32636"), gsd_m=1.0)
    means = pixels.reshape(35, 2, 45, 2, 3).astype(float).mean(axis=(1, 3))
    with open_scene(cog) as scene:
        found = scene.read(0, 0, scene.height, scene.width).astype(float)
        assert scene.nodata is None
    assert found.shape == (35, 45, 3)
    assert np.abs(found - means).max() <= 0.5 + 1e-6  # rounding to whole numbers


def test_averaging_leaves_nodata_out(write_raster, pixels):
    pixels[:, :45] = 0
    cog, statistics = convert(write_raster("a.tif", pixels, crs="EPSG:32636", nodata=0), gsd_m=1.0)
    with open_scene(cog) as scene:
        assert scene.nodata == 0
        valid = scene.valid_mask(0, 0, 35, 45)
    assert not valid[:, :22].any()
    assert valid[:, 23:].all()
    assert statistics.nodata_fraction == pytest.approx(0.5, abs=0.02)


def test_an_alpha_band_becomes_a_mask(write_raster, pixels):
    alpha = np.full((70, 90, 1), 255, dtype=np.uint8)
    alpha[:10] = 0
    source = write_raster("a.tif", np.concatenate([pixels, alpha], axis=2), crs="EPSG:32636")
    with rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    assert read_header(source).bands == (1, 2, 3)
    cog, statistics = convert(source)
    with open_scene(cog) as scene:
        assert scene.count == 3
        assert np.array_equal(scene.valid_mask(0, 0, 70, 90), alpha[..., 0] > 0)
    assert statistics.nodata_fraction == pytest.approx(1 / 7)


def test_a_fourth_band_is_data_where_the_project_has_four(write_raster):
    image = np.random.default_rng(5).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    source = write_raster("a.tif", image, crs="EPSG:32636")  # GDAL marks the fourth band as alpha
    header = read_header(source, expected_bands=4)
    assert header.bands == (1, 2, 3, 4)
    assert "taken as data" in header.notes[0]
    cog, statistics = convert(source, bands=(*BANDS, "nir"))
    with open_scene(cog) as scene:
        assert np.array_equal(scene.read(0, 0, 64, 64), image)
        assert scene.valid_mask(0, 0, 64, 64).all()
    assert statistics.nodata_fraction == 0


def test_the_gaps_of_a_reprojection_are_masked(write_raster, pixels):
    transform = Affine(0.5, 0, 300_000, 0, -0.5, 6_000_000)  # far from the zone's middle: north is turned
    cog, statistics = convert(write_raster("a.tif", pixels, crs="EPSG:32636", transform=transform), crs="EPSG:3857")
    with open_scene(cog) as scene:
        valid = scene.valid_mask(0, 0, scene.height, scene.width)
    assert not valid.all()
    assert statistics.minimum[0] >= 1  # black corners are not pixels


def test_nan_and_infinity_are_counted(write_raster):
    image = np.ones((64, 64, 1), dtype=np.float32)
    image[0, 0], image[0, 1] = np.nan, np.inf
    _, statistics = convert(write_raster("a.tif", image), bands=("height",))
    assert statistics.valid == 64 * 64 - 1
    assert statistics.infinite == 1
    assert statistics.bands() == [{"minimum": 1, "maximum": 1, "mean": 1, "stddev": 0}]


@pytest.mark.parametrize(
    "options", [{}, {"compress": "deflate"}, {"tiled": True, "compress": "lzw"}, {"driver": "PNG"}]
)
def test_a_truncated_file_is_found(write_raster, options):
    image = np.random.default_rng(3).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    source = write_raster("a.tif", image, **options)
    source.write_bytes(source.read_bytes()[:-50_000])
    with pytest.raises(BadDataError, match="damaged or truncated"):
        convert(source)
    assert [path.name for path in source.parent.iterdir()] == ["a.tif"]


def test_a_truncated_jpeg_is_not_filled_with_grey(write_raster):
    image = np.random.default_rng(3).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    source = write_raster("a.jpg", image, driver="JPEG")
    source.write_bytes(source.read_bytes()[:-20_000])
    with pytest.raises(BadDataError, match="damaged or truncated"):
        convert(source)


def test_an_internal_mask_survives_resampling(write_raster, pixels):
    source = write_raster("a.tif", pixels, crs="EPSG:32636")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(source, "r+") as dataset:
        mask = np.full(pixels.shape[:2], 255, np.uint8)
        mask[:, :30] = 0
        dataset.write_mask(mask)
    cog, statistics = convert(source, gsd_m=1.0)
    assert statistics.nodata_fraction == pytest.approx(1 / 3, abs=0.01)
    with open_scene(cog) as scene:
        valid = scene.valid_mask(0, 0, scene.height, scene.width)
    assert not valid[:, :15].any()
    assert valid[:, 16:].all()
