"""Resampling and reprojection against rasterio.warp on whole arrays."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject
from scene_images import PLACE, smooth

from satseg.config.data import RadiometryConfig
from satseg.scenes import statistics as windowing
from satseg.scenes.grid import target_grid
from satseg.scenes.recipe import recipe_of_file
from satseg.scenes.transcode import transcode


def converted(path, names, grid, **options):
    recipe = recipe_of_file(path, names)
    product = transcode(recipe, target_grid(recipe.grid, *grid), path.with_name("scene.tif"), names, **options)
    with rasterio.open(path.with_name("scene.tif")) as dataset:
        return product, dataset.read(), dataset.dataset_mask() > 0, dataset.profile


def warped_whole(image: np.ndarray, profile, how: Resampling, nodata: float) -> np.ndarray:
    """Return (C, H, W) of rasterio.warp on the whole array."""
    result = np.full((image.shape[2], profile["height"], profile["width"]), nodata, image.dtype)
    reproject(
        image.transpose(2, 0, 1).copy(),
        result,
        src_transform=PLACE["transform"],
        src_crs=PLACE["crs"],
        dst_transform=profile["transform"],
        dst_crs=profile["crs"],
        src_nodata=nodata,
        dst_nodata=nodata,
        resampling=how,
    )
    return result


@pytest.mark.parametrize(
    ("dtype", "grid"),
    [
        *[
            (dtype, grid)
            for dtype in ("uint8", "uint16", "int16", "float32")
            for grid in (("EPSG:3857", None), (None, 0.83))
        ],
        ("uint16", ("EPSG:32635", 0.8)),
        ("uint16", (None, 0.3)),
    ],
)
@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "average"])
def test_resampling_equals_rasterio_warp_on_the_whole_array(write_raster, dtype, how, grid):
    image = smooth(230, 310, 2, dtype)
    nodata = -5 if dtype in {"int16", "float32"} else 0
    image[100:140, 50:90] = nodata
    path = write_raster("a.tif", image, nodata=nodata, **PLACE)
    product, found, _, profile = converted(path, ("a", "b"), grid, resampling=how)
    expected = warped_whole(image, profile, Resampling[how], nodata)
    assert product.resampling == how
    assert (profile["crs"].to_string(), profile["nodata"]) == (grid[0] or PLACE["crs"], nodata)
    # pieces of a reprojection may see the curve of the CRS another eighth of a pixel away; floats round otherwise
    allowed = (1e-3 if dtype == "float32" else 0) if grid[0] is None else 1
    differing = np.abs(found.astype(float) - expected) > allowed
    assert differing.mean() <= (0 if grid[0] is None else 2e-3)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 2**20),
    st.sampled_from([("EPSG:3857", None), ("EPSG:32635", 0.7), (None, 0.83)]),
    st.sampled_from(["auto", "cubic"]),
)
@pytest.mark.slow
def test_strips_of_any_height_are_invisible(write_raster, window_bytes, grid, how):
    path = write_raster("a.tif", smooth(600, 1100, 2, "uint8"), nodata=0, **PLACE)
    names = ("a", "b")
    converted(path, names, grid, resampling=how)
    first = path.with_name("scene.tif").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowing, "WINDOW_BYTES", window_bytes)
        converted(path, names, grid, resampling=how)
    assert path.with_name("scene.tif").read_bytes() == first


def test_values_are_calculated_before_they_are_rounded(write_raster):
    image = smooth(120, 120, 1, "uint16")
    path = write_raster("a.tif", image, **PLACE)
    radiometry = RadiometryConfig(calibrate="project", scale=(0.01,))
    _, found, _, _ = converted(path, ("a",), (None, 1.0), radiometry=radiometry)
    means = image.reshape(60, 2, 60, 2).astype(float).mean(axis=(1, 3)) * 0.01
    assert found[0] == pytest.approx(means, rel=1e-6)


def test_gaps_of_a_reprojection_are_nan_after_a_calibration(write_raster):
    place = PLACE | {"transform": Affine(0.5, 0, 300_000, 0, -0.5, 6_000_000)}
    path = write_raster("a.tif", smooth(120, 140, 2, "uint16"), **place)
    radiometry = RadiometryConfig(calibrate="project", scale=(0.01,))
    product, found, valid, _ = converted(path, ("a", "b"), ("EPSG:3857", None), radiometry=radiometry)
    assert np.isnan(product.nodata)
    assert 0.5 < valid.mean() < 1
    assert np.array_equal(np.isnan(found[0]), ~valid)
    assert 0 < product.statistics.nodata_fraction < 0.5


@pytest.mark.parametrize("grid", [(None, 1.0), ("EPSG:3857", None)])
@pytest.mark.parametrize("told", ["mask", "alpha"])
@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("float32", None), ("int16", -9)])
def test_a_mask_and_nodata_both_count_when_pixels_are_resampled(write_raster, dtype, nodata, told, grid):
    image = np.full((100, 120, 4 if told == "alpha" else 3), 50, dtype)
    image[:, :40, :3] = np.nan if nodata is None else nodata
    image[60:, 40:, :3] = 77  # what the mask hides
    image[:60, :, 3:] = np.iinfo(dtype).max if dtype != "float32" else 1
    image[60:, :, 3:] = 0
    options = {"photometric": "RGB", "alpha": "YES"} if told == "alpha" else {}
    path = write_raster("a.tif", image, nodata=nodata, **PLACE, **options)
    if told == "mask":
        mask = np.full((100, 120), 255, np.uint8)
        mask[60:] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
    _, found, valid, _ = converted(path, ("a", "b", "c"), grid)
    height, width = valid.shape
    assert not valid[int(0.63 * height) :].any()
    assert not valid[:, : int(0.3 * width)].any()
    assert valid[3 : int(0.57 * height), int(0.37 * width) : width - 3].all()
    assert (found[:, valid] == 50).all()
