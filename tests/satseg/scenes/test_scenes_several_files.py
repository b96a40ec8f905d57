"""Scenes of several files."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject
from scene_images import PLACE, smooth

from satseg.config.data import RadiometryConfig
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid
from satseg.scenes.raster import open_scene
from satseg.scenes.recipe import Member, recipe_of_files
from satseg.scenes.transcode import transcode


def several(write_raster, images, **profiles):
    """Write a raster per band; returns the members."""
    members = {}
    for name, image in images.items():
        profile = PLACE | {"nodata": 0} | profiles.get(name, {})
        members[name] = Member(write_raster(f"{name}.tif", image, **profile))
    return members


def composed(members, names, tmp_path, **options):
    recipe = recipe_of_files(members, names)
    product = transcode(recipe, recipe.grid, tmp_path / "scene.tif", names, **options)
    with open_scene(tmp_path / "scene.tif") as scene:
        pixels = scene.read(0, 0, scene.height, scene.width)
        return product, pixels, scene.valid_mask(0, 0, scene.height, scene.width), scene.transform


def test_single_band_files_become_one_scene_in_the_projects_order(write_raster, tmp_path):
    image = smooth(90, 100, 3, "uint16")
    members = several(write_raster, {name: image[..., [i]] for i, name in enumerate(("red", "green", "blue"))})
    _, found, valid, _ = composed(members, ("blue", "red"), tmp_path)
    assert np.array_equal(found, image[..., [2, 0]])
    assert valid.all()


def test_a_file_may_hold_several_of_the_bands(write_raster, tmp_path):
    image = smooth(90, 100, 3, "uint16")
    path = write_raster("a.tif", image, **PLACE)
    single = write_raster("b.tif", image[..., [0]] + 1, **PLACE)
    members = {"x": Member(path, 3), "y": Member(single), "z": Member(path, 2)}
    _, found, _, _ = composed(members, ("x", "y", "z"), tmp_path)
    assert np.array_equal(found, np.stack([image[..., 2], image[..., 0] + 1, image[..., 1]], axis=2))


def test_coarser_bands_are_brought_to_the_finest(write_raster, tmp_path):
    fine, coarse = smooth(120, 140, 1, "uint16"), smooth(60, 70, 1, "uint16")
    coarse_place = {"transform": Affine(1.0, 0, 500_000, 0, -1.0, 40_000)}
    members = several(write_raster, {"red": fine, "swir": coarse}, swir=coarse_place)
    product, found, _, transform = composed(members, ("swir", "red"), tmp_path)
    assert transform == PLACE["transform"]
    assert np.array_equal(found[..., 1], fine[..., 0])
    expected = np.zeros((120, 140), np.uint16)
    reproject(
        coarse[..., 0],
        expected,
        **{"src_crs": PLACE["crs"], "dst_crs": PLACE["crs"], "src_transform": coarse_place["transform"]},
        **{"dst_transform": transform, "src_nodata": 0, "dst_nodata": 0, "resampling": Resampling.bilinear},
    )
    assert np.array_equal(found[..., 0], expected)
    assert product.resampling == "bilinear"


def test_bands_in_another_crs_are_reprojected_to_the_finest(write_raster, tmp_path):
    place = {"crs": "EPSG:3857", "transform": Affine(1.0, 0, 3_673_540, 0, -1.0, 40_290)}
    members = several(write_raster, {"red": smooth(120, 140, 1, "uint8"), "nir": smooth(99, 99, 1, "uint8")}, nir=place)
    _, found, _, _ = composed(members, ("red", "nir"), tmp_path)
    assert found.shape == (120, 140, 2)
    expected = np.zeros((120, 140), np.uint8)
    reproject(
        smooth(99, 99, 1, "uint8")[..., 0],
        expected,
        **{"src_crs": place["crs"], "dst_crs": PLACE["crs"], "src_transform": place["transform"]},
        **{"dst_transform": PLACE["transform"], "src_nodata": 0, "dst_nodata": 0, "resampling": Resampling.bilinear},
    )
    assert (expected > 0).mean() > 0.9
    assert np.array_equal(found[..., 1], expected)


def test_a_band_that_covers_a_part_leaves_no_data_beside_it(write_raster, tmp_path):
    place = {"transform": Affine(1.0, 0, 500_000, 0, -1.0, 40_000), "nodata": None}
    images = {"red": smooth(120, 140, 1, "uint8"), "nir": smooth(60, 35, 1, "uint8")}
    members = several(write_raster, images, red={"nodata": None}, nir=place)
    product, found, valid, _ = composed(members, ("red", "nir"), tmp_path)
    assert product.nodata is None
    assert valid[:, :69].all()
    assert not valid[:, 71:].any()
    assert np.array_equal(found[..., 0], images["red"][..., 0])


def test_different_nodata_values_become_one_that_no_data_has(write_raster, tmp_path):
    image = smooth(90, 100, 2, "uint16")
    image[:10] = 0
    image[40, 40] = [0, 9999]
    image[50, 50] = [9999, 0]
    image[:10, :, 1] = 9999
    members = several(write_raster, {"a": image[..., [0]], "b": image[..., [1]]}, b={"nodata": 9999})
    product, found, valid, _ = composed(members, ("a", "b"), tmp_path)
    assert product.nodata == 0
    assert not valid[:10].any()
    assert found[40, 40].tolist() == [0, 0]
    assert found[50, 50].tolist() == [9999, 1]  # 0 is data in the second file


def test_where_one_file_is_masked_there_is_no_data(write_raster, tmp_path):
    image = smooth(90, 100, 2, "uint8")
    members = several(
        write_raster, {"a": image[..., [0]], "b": image[..., [1]]}, a={"nodata": None}, b={"nodata": None}
    )
    mask = np.full((90, 100), 255, np.uint8)
    mask[:20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(members["b"].path, "r+") as dataset:
        dataset.write_mask(mask)
    _, _, valid, _ = composed(members, ("a", "b"), tmp_path)
    assert np.array_equal(valid, mask > 0)


def test_bands_of_one_file_with_other_nodata_are_resampled_each_with_its_own(write_raster, tmp_path):
    coarse = np.full((60, 70, 2), 100, np.uint8)
    coarse[:20, :, 0], coarse[:20, :, 1] = 0, 255
    place = PLACE | {"transform": Affine(1.0, 0, 500_000, 0, -1.0, 40_000)}
    two = write_raster("two.tif", coarse, **place)
    fine = several(write_raster, {"fine": smooth(120, 140, 1, "uint8")})
    members = {**fine, "a": Member(two, 1, nodata=0), "b": Member(two, 2, nodata=255)}
    _, found, _, _ = composed(members, ("fine", "a", "b"), tmp_path)
    assert (found[40:, :, 1:] == 100).all()  # nothing of the other's nodata is mixed in
    assert (found[:40, :, 1:] == 0).all()


def test_types_are_widened_where_one_can_hold_both(write_raster, tmp_path):
    image = smooth(90, 100, 2, "uint16")
    members = several(write_raster, {"a": image[..., [0]].astype(np.uint8), "b": image[..., [1]] * 100})
    product, found, _, _ = composed(members, ("a", "b"), tmp_path)
    assert product.dtype == "uint16"
    assert np.array_equal(found, image * [1, 100])
    odd = several(write_raster, {"a": image[..., [0]].astype(np.int16), "b": image[..., [1]]})
    assert recipe_of_files(odd, ("a", "b")).dtype == "int16/uint16"


def test_scale_offset_and_nodata_of_the_description_win(write_raster, tmp_path):
    image = smooth(90, 100, 1, "uint16")
    image[:5] = 50
    path = write_raster("a.tif", image, **PLACE)
    members = {"red": Member(path, scale=1e-4, offset=-0.1, nodata=50)}
    product, found, valid, _ = composed(members, ("red",), tmp_path, radiometry=RadiometryConfig(calibrate="metadata"))
    assert product.steps[0]["offset"] == [-0.1]
    assert np.array_equal(valid, image[..., 0] != 50)
    assert found[valid] == pytest.approx(image[valid] * 1e-4 - 0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"crs": None, "transform": Affine.identity()}, "no CRS, unlike the other bands"),
        ({"nodata": None, "count": 1, "index": 2}, "has no data band 2, only 1"),
        ({"member_nodata": 70_000.0}, "cannot be nodata 70000"),
        ({"transform": Affine(0.5, 0, 500_032, 0, -0.5, 40_000)}, r"b\.tif lies elsewhere than a\.tif"),
        ({"crs": "EPSG:3857"}, r"b\.tif lies elsewhere than a\.tif"),
    ],
)
def test_bands_that_do_not_go_together_are_refused(write_raster, second, words):
    image = smooth(64, 64, 1, "uint16")
    one = Member(write_raster("a.tif", image, **PLACE))
    place = PLACE | {key: second[key] for key in ("crs", "transform") if key in second}
    two = Member(write_raster("b.tif", image, **place), second.get("index", 1), nodata=second.get("member_nodata"))
    with pytest.raises(BadDataError, match=words):
        recipe_of_files({"a": one, "b": two}, ("a", "b"))


def test_bands_without_crs_must_be_of_one_size(write_raster):
    one, two = (Member(write_raster(f"{n}.tif", smooth(n, 64, 1, "uint8"))) for n in (64, 65))
    with pytest.raises(BadDataError, match="without a CRS all bands must be of the same size"):
        recipe_of_files({"a": one, "b": two}, ("a", "b"))


def test_a_damaged_band_is_named(write_raster):
    good = Member(write_raster("good.tif", smooth(64, 64, 1, "uint8"), **PLACE))
    broken = good.path.with_name("broken.tif")
    broken.write_bytes(b"II*\0" + bytes(20))
    with pytest.raises(BadDataError, match=r"broken\.tif: the file is damaged"):
        recipe_of_files({"a": good, "b": Member(broken)}, ("a", "b"))


def test_grids_are_the_same_to_a_thousandth_of_a_pixel():
    from satseg.scenes.recipe import same_place

    grid = Grid(100, 100, PLACE["transform"], "EPSG:32636")
    near = Grid(100, 100, Affine(0.5, 0, 500_000.0001, 0, -0.5, 40_000), "EPSG:32636")
    far = Grid(100, 100, Affine(0.5, 0, 500_000.01, 0, -0.5, 40_000), "EPSG:32636")
    assert same_place(grid, near)
    assert not same_place(grid, far)
