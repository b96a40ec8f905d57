"""Every kind of source a team may have: formats, pixel types, bands and their names, nodata, masks, places."""

import itertools

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from satseg.errors import BadDataError
from satseg.scenes.raster import open_scene
from satseg.scenes.recipe import recipe_of_file
from satseg.scenes.transcode import transcode

PLACE = {"crs": "EPSG:32636", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 40_000)}
DTYPES = ("uint8", "uint16", "int16", "float32")


def image_of(dtype: str, count: int) -> np.ndarray:
    random = np.random.default_rng(count)
    if dtype == "float32":
        return random.normal(0, 3, (96, 110, count)).astype(dtype)
    return random.integers(-500 if dtype == "int16" else 1, 200, (96, 110, count)).astype(dtype)


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"b{i}" for i in range(1, count + 1))


def convert(path, names, called=None):
    recipe = recipe_of_file(path, names, called)
    product = transcode(recipe, recipe.grid, path.with_name("scene.tif"), names)
    with open_scene(path.with_name("scene.tif")) as scene:
        return product, scene.read(0, 0, scene.height, scene.width), scene.valid_mask(0, 0, scene.height, scene.width)


@pytest.mark.parametrize(("dtype", "count"), itertools.product(DTYPES, (1, 2, 3, 4, 7, 16)))
def test_a_geotiff_keeps_its_pixels_and_gets_the_projects_names(write_raster, dtype, count):
    image = image_of(dtype, count)
    # without this GDAL would take the last band of some for alpha
    path = write_raster("a.tif", image, photometric="MINISBLACK", alpha="no", **PLACE)
    product, found, valid = convert(path, names_of(count))
    assert np.array_equal(found, image)
    assert valid.all()
    assert product.dtype == dtype
    with rasterio.open(path.with_name("scene.tif")) as cog:
        assert cog.descriptions == names_of(count)
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (cog.crs.to_epsg(), cog.transform) == (32636, PLACE["transform"])
        assert ColorInterp.alpha not in cog.colorinterp


@pytest.mark.parametrize(("dtype", "told"), itertools.product(DTYPES, ("nodata", "internal", "external", "alpha")))
def test_what_is_no_data_stays_so(write_raster, dtype, told):
    image = image_of(dtype, 3)
    gone = np.zeros(image.shape[:2], bool)
    gone[:30, 20:70] = True
    mask = np.where(gone, 0, 255).astype(np.uint8)
    profile = dict(PLACE)
    if told == "nodata":
        image[gone] = -9 if dtype in {"int16", "float32"} else 0
        profile["nodata"] = image[0, 20, 0].item()
        gone = (image == profile["nodata"]).all(axis=2)
    if told == "alpha":
        image = np.concatenate([image, (mask[..., None] > 0).astype(dtype) * 200], axis=2)
    path = write_raster("a.tif", image, photometric="RGB", **profile)
    if told == "alpha":
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    if told in {"internal", "external"}:
        internal = told == "internal"
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
        assert path.with_name("a.tif.msk").exists() != internal
    product, found, valid = convert(path, names_of(3))
    assert np.array_equal(valid, ~gone)
    assert np.array_equal(found[valid], image[..., :3][valid])
    assert product.statistics.nodata_fraction == pytest.approx(gone.mean())
    assert (product.nodata is None) == (told != "nodata")


def test_a_mask_and_nodata_together_are_both_no_data(write_raster, pixels):
    pixels[:10] = 0
    path = write_raster("a.tif", pixels, nodata=0, **PLACE)
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    mask[:, :20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    _, _, valid = convert(path, names_of(3))
    expected = np.ones((70, 90), bool)
    expected[:10] = expected[:, :20] = False
    assert np.array_equal(valid, expected)


@pytest.mark.parametrize("driver", ["PNG", "JPEG"])
@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_png_and_jpeg_with_and_without_world_file(write_raster, driver, placed, count):
    image = image_of("uint8", count)
    suffix, world = {"PNG": (".png", ".pgw"), "JPEG": (".jpg", ".jgw")}[driver]
    path = write_raster(f"a{suffix}", image, driver=driver)
    if placed:
        path.with_suffix(world).write_text("0.5\n0\n0\n-0.5\n500000.25\n39999.75\n")
        path.with_suffix(".prj").write_text(CRS.from_epsg(32636).to_wkt())
    with rasterio.open(path) as dataset:
        decoded = dataset.read().transpose(1, 2, 0)
    _, found, valid = convert(path, names_of(count))
    assert np.array_equal(found, decoded)
    assert valid.all()
    with open_scene(path.with_name("scene.tif")) as scene:
        expected = (CRS.from_epsg(32636), PLACE["transform"]) if placed else (None, Affine.identity())
        assert (scene.crs, scene.transform) == expected


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_png_with_alpha_gets_a_mask(write_raster, dtype):
    image = image_of(dtype, 4)
    image[..., 3] = 65535 if dtype == "uint16" else 255
    image[5:9, 5:50, 3] = 0
    _, found, valid = convert(write_raster("a.png", image, driver="PNG"), names_of(3))
    assert np.array_equal(found, image[..., :3])
    assert np.array_equal(valid, image[..., 3] > 0)


def described(path, *names):
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


def test_named_bands_are_picked_whatever_their_order(write_raster):
    image = image_of("uint16", 5)
    path = described(write_raster("a.tif", image, **PLACE), "Coastal", "BLUE", "green", "Red", "nir")
    _, found, _ = convert(path, ("red", "nir", "blue"))
    assert np.array_equal(found, image[..., [3, 4, 1]])


def test_a_file_may_call_its_bands_otherwise(write_raster):
    image = image_of("uint16", 3)
    path = described(write_raster("a.tif", image, **PLACE), "B02", "B03", "B04")
    _, found, _ = convert(path, ("red", "green"), {"red": "B04", "green": "b03"})
    assert np.array_equal(found, image[..., [2, 1]])


def test_bands_with_strange_names_are_taken_in_order_and_it_is_said(write_raster):
    image = image_of("uint8", 3)
    path = described(write_raster("a.tif", image, **PLACE), "B1", "B2", "B3")
    recipe = recipe_of_file(path, ("red", "green", "blue"))
    assert [band.index for band in recipe.bands] == [1, 2, 3]
    assert "called B1, B2, B3: taken in this order" in recipe.notes[0]


@pytest.mark.parametrize("names", [("red", "green", "blue", "x"), ("nir", "nir", "red", "green")])
def test_a_missing_or_doubled_name_among_others_is_refused(write_raster, names):
    path = described(write_raster("a.tif", image_of("uint8", 4), **PLACE), *names)
    with pytest.raises(BadDataError, match=r"has 4 bands \(.*called nir.*band_names"):
        recipe_of_file(path, ("red", "green", "nir"))


def test_unnamed_bands_too_many_are_left_to_the_rules(write_raster):
    recipe = recipe_of_file(write_raster("a.tif", image_of("uint16", 5), **PLACE), ("red", "green", "blue"))
    assert len(recipe.bands) == 5


@pytest.mark.parametrize(
    "name", ["with space.tif", "zwölf & <drei>.tif", "line\nbreak.tif", ' "quoted" .tif', "a\rb.tif"]
)
def test_any_file_name_will_do(write_raster, name):
    image = image_of("uint8", 3)
    _, found, _ = convert(write_raster(name, image, **PLACE), names_of(3))
    assert np.array_equal(found, image)
