"""Radiometry against slow formulas on whole arrays."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satseg.config.data import RadiometryConfig
from satseg.errors import BadDataError
from satseg.scenes import statistics as windowing
from satseg.scenes.recipe import recipe_of_file
from satseg.scenes.transcode import transcode

BANDS = ("blue", "red")
DECLARED = {
    "reflectance": {"calibrate": "project", "scale": [1e-4, 2e-4], "offset": [-0.1]},
    "haze": {"dark_object": {"percent": 1.0}},
    "stretch": {"stretch": {"low_percent": 2, "high_percent": 98}},
    "stretch to 16 bits": {"stretch": {}, "dtype": "uint16"},
    "all": {
        **{"calibrate": "project", "scale": [1e-4], "dark_object": {"percent": 0.5, "reflectance": 0.01}},
        **{"stretch": {"low_percent": 1, "high_percent": 99}},
    },
    "floats": {"dtype": "float32"},
}


def scene(dtype: str, nodata: float | None) -> np.ndarray:
    """Return (120, 140, 2) with a dark corner, a bright one, and nodata at the left."""
    random = np.random.default_rng(8)
    ramp = np.linspace(100, 9_000, 120 * 140).reshape(120, 140, 1)
    image = ramp * [1.0, 0.4] + random.normal(0, 60, (120, 140, 2))
    image = np.clip(image / (40 if dtype == "uint8" else 1), 1, 250 if dtype == "uint8" else 20_000).astype(dtype)
    if nodata is not None:
        image[:, :25] = nodata
        image[50:60, 60:70, 1] = nodata  # in one band only
    return image


def slow(image: np.ndarray, nodata: float | None, what: RadiometryConfig) -> np.ndarray:
    """Return float64 (H, W, C), NaN where there is no data: the declared steps, one band after the other."""
    bands = []
    for i in range(image.shape[2]):
        band = image[..., i].astype(np.float64)
        if nodata is not None:
            band[band == nodata] = np.nan
        if what.calibrate == "project":
            band = band * what.scale[i % len(what.scale)] + what.offset[i % len(what.offset)]
        if what.dark_object is not None:
            dark = np.percentile(band[~np.isnan(band)], what.dark_object.percent, method="inverted_cdf")
            band = np.where(np.isnan(band), np.nan, np.maximum(band - (dark - what.dark_object.reflectance), 0))
        if what.stretch is not None:
            ends = [what.stretch.low_percent, what.stretch.high_percent]
            low, high = np.percentile(band[~np.isnan(band)], ends, method="inverted_cdf")
            band = (np.clip(band, low, high) - low) / (high - low)
        bands.append(band)
    return np.stack(bands, axis=2)


def converted(path, declared: RadiometryConfig):
    recipe = recipe_of_file(path, BANDS)
    product = transcode(recipe, recipe.grid, path.with_name("scene.tif"), BANDS, declared)
    with rasterio.open(path.with_name("scene.tif")) as dataset:
        return product, dataset.read().transpose(1, 2, 0), dataset


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("name", list(DECLARED))
def test_each_step_equals_the_slow_formula(write_raster, name, dtype, nodata):
    declared = RadiometryConfig.model_validate(DECLARED[name])
    image = scene(dtype, nodata)
    product, found, dataset = converted(write_raster("a.tif", image, nodata=nodata), declared)
    expected = slow(image, nodata, declared)
    data = ~np.isnan(expected)
    assert found.dtype == product.dtype == dataset.dtypes[0]
    if found.dtype.kind == "f":
        assert np.array_equal(~np.isnan(found) & (found != product.nodata), data)
        assert found[data] == pytest.approx(expected[data], rel=1e-6, abs=1e-6)
        return
    limits = np.iinfo(found.dtype)
    reserved = product.nodata is not None
    if declared.stretch is not None:
        least = max(limits.min + reserved, 0)
        expected = least + expected * (limits.max - least)
    if reserved:
        assert np.array_equal(found != product.nodata, data)
        assert dataset.nodata == product.nodata
    wanted = np.clip(np.rint(expected[data]), limits.min + reserved, limits.max)
    assert np.abs(found[data].astype(float) - wanted).max() <= (declared.stretch is not None)  # ties of the rounding
    assert (found[data] == wanted).mean() > 0.999


def test_strips_are_invisible(write_raster, monkeypatch):
    declared = RadiometryConfig.model_validate(DECLARED["all"])
    image = np.tile(scene("uint16", 0), (6, 9, 1))
    path = write_raster("a.tif", image, nodata=0, tiled=True, blockxsize=256, blockysize=256)
    whole, _, _ = converted(path, declared)
    first = path.with_name("scene.tif").read_bytes()
    monkeypatch.setattr(windowing, "WINDOW_BYTES", 1)
    small, _, _ = converted(path, declared)
    assert path.with_name("scene.tif").read_bytes() == first
    assert small.steps == whole.steps


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4 * 2**20), st.sampled_from([{}, {"tiled": True, "blockxsize": 128, "blockysize": 256}]))
@pytest.mark.slow
def test_any_height_of_strips_gives_equal_bytes(write_raster, window_bytes, layout):
    declared = RadiometryConfig.model_validate(DECLARED["all"])
    path = write_raster("a.tif", np.tile(scene("uint16", 0), (3, 5, 1)), nodata=0, **layout)
    converted(path, declared)
    first = path.with_name("scene.tif").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowing, "WINDOW_BYTES", window_bytes)
        converted(path, declared)
    assert path.with_name("scene.tif").read_bytes() == first


def test_the_steps_are_recorded_with_their_numbers(write_raster):
    image = scene("uint16", 0)
    product, _, _ = converted(write_raster("a.tif", image, nodata=0), RadiometryConfig.model_validate(DECLARED["all"]))
    calibrate, dark, stretch, dtype = product.steps
    assert calibrate == {"step": "calibrate", "from": "project", "scale": [1e-4, 1e-4], "offset": [0.0, 0.0]}
    values = image[..., 0][image[..., 0] > 0]
    darkest = np.percentile(values, 0.5, method="inverted_cdf")
    assert "Chavez 1988" in dark["method"]
    assert dark["dark"][0] == pytest.approx(darkest * 1e-4)
    high = np.percentile(values, 99, method="inverted_cdf") * 1e-4 - darkest * 1e-4 + 0.01
    assert stretch["high"][0] == pytest.approx(high)
    assert (stretch["percents"], stretch["range"]) == ([1.0, 99.0], [1.0, 255.0])
    assert dtype == {"step": "dtype", "dtype": "uint8"}


def test_scale_and_offset_come_from_the_files_tags(write_raster):
    image = scene("int16", None)
    path = write_raster("a.tif", image)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.001, 0.002), (-0.5, 0.0)
    product, found, _ = converted(path, RadiometryConfig(calibrate="metadata"))
    assert product.steps[0]["from"] == "metadata"
    assert found == pytest.approx(image * [0.001, 0.002] + [-0.5, 0.0], rel=1e-6)


def test_a_scene_without_scale_is_refused_with_the_remedy(write_raster):
    path = write_raster("a.tif", scene("int16", None))
    with pytest.raises(BadDataError, match=r"no scale and offset for band 1, 2 .*raster:bands.*calibrate: project"):
        converted(path, RadiometryConfig(calibrate="metadata"))
    assert [file.name for file in path.parent.iterdir()] == ["a.tif"]


def test_no_value_becomes_nodata_by_subtraction(write_raster):
    image = scene("uint16", 0)
    product, found, _ = converted(write_raster("a.tif", image, nodata=0), RadiometryConfig(dark_object={}))
    assert product.nodata == 0
    assert np.array_equal(found == 0, image == 0)
    assert found[image > 0].min() == 1


def test_masked_pixels_stay_masked_and_count_in_no_percentile(write_raster):
    image = scene("uint16", None)
    image[:, :40] = 60_000
    path = write_raster("a.tif", image)
    mask = np.full(image.shape[:2], 255, np.uint8)
    mask[:, :40] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    product, found, _ = converted(path, RadiometryConfig(stretch={}))
    assert product.nodata is None
    assert product.statistics.nodata_fraction == pytest.approx(40 / 140)
    assert product.steps[0]["high"][0] < 20_000
    assert (found[:, 40:].min(), found[:, 40:].max()) == (0, 255)
    product, found, _ = converted(path, RadiometryConfig(dtype="float32"))
    assert np.isnan(found[:, :40]).all()
    assert not np.isnan(found[:, 40:]).any()


def test_infinite_values_of_the_source_are_counted_though_a_stretch_hides_them(write_raster):
    image = scene("float32", None)
    image[5, 5, 0] = np.inf
    product, _, _ = converted(write_raster("a.tif", image), RadiometryConfig(stretch={}))
    assert product.statistics.infinite == 1


def test_a_band_without_contrast_is_stretched_to_the_least_value(write_raster):
    image = np.full((80, 90, 2), 7, np.uint16)
    _, found, _ = converted(write_raster("a.tif", image), RadiometryConfig(stretch={}))
    assert (found == 0).all()
