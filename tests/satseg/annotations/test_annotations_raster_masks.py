import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely.geometry import box

from label_makers import CLASSES, SCENE, SIZE, by_strips, raster, table_of, truth
from satseg.annotations import raster_mask
from satseg.annotations.labels import SceneFrame
from satseg.annotations.mask_values import check_mask_values
from satseg.annotations.reading import read_labels
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError, ConfigurationError
from satseg.scenes.grid import Grid, target_grid

DRAWN = [(box(10, 12, 40, 50).difference(box(20, 20, 30, 30)), "building"), (box(55.5, 3, 90, 80), "road")]
IDS = truth(DRAWN)
PIXELS = Grid(SIZE, SIZE, Affine.identity(), None)
ONE = ("building",)


def mask_of(path, **how) -> np.ndarray:
    return by_strips(table_of(path, **how), SIZE)


def test_values_by_mapping_and_background(tmp_path):
    values = np.select([IDS == 1, IDS == 2], [40_000, 7], default=99).astype(np.uint16)
    path = raster(tmp_path / "a_mask.tif", values, SCENE)
    how = {"mask_values": {"building": 40_000, "road": (7, 8), "background": 99}}
    assert np.array_equal(mask_of(path, **how), IDS)


def test_a_mask_of_0_and_255_is_the_only_class(tmp_path):
    path = raster(tmp_path / "a_mask.png", np.where(IDS == 1, 255, 0).astype(np.uint8))
    assert np.array_equal(by_strips(table_of(path, classes=ONE), SIZE), IDS == 1)
    with pytest.raises(BadDataError, match=r"without a class: 255"):
        table_of(path)


def test_a_palette_is_read_by_index_or_by_colour(tmp_path):
    palette = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 9: (0, 0, 128)}
    path = raster(tmp_path / "a.png", IDS, palette=palette)
    assert np.array_equal(mask_of(path), IDS)
    swapped = {"mask_values": {"road": "#800000", "building": "#008000"}}
    assert np.array_equal(mask_of(path, **swapped), np.array([0, 2, 1])[IDS])


def test_colours_are_classes_where_they_are_declared(tmp_path):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 16]], dtype=np.uint8)[IDS].transpose(2, 0, 1)
    path = raster(tmp_path / "a_mask.png", colours)
    how = {"mask_values": {"building": "#FF0000", "road": "#00ff10"}}
    assert np.array_equal(mask_of(path, **how), IDS)
    with pytest.raises(BadDataError, match="mask in colours; say in the project file which colour is which class"):
        mask_of(path)
    with pytest.raises(BadDataError, match="without a class: #00ff10"):
        mask_of(path, mask_values={"building": "#ff0000"})


def test_transparent_pixels_and_nodata_are_background(tmp_path):
    alpha = np.where(IDS == 2, 0, 255).astype(np.uint8)
    colours = np.stack([np.where(IDS > 0, 200, 0).astype(np.uint8), IDS * 0, IDS * 0, alpha])
    path = raster(tmp_path / "a_mask.png", colours, photometric="RGB")
    assert np.array_equal(mask_of(path, mask_values={"building": "#c80000"}), IDS == 1)
    path = raster(tmp_path / "b_mask.tif", np.where(IDS == 2, 77, IDS).astype(np.uint8), SCENE, nodata=77)
    assert np.array_equal(mask_of(path), IDS * (IDS == 1))


def test_whole_numbers_in_floats_are_values_and_nan_is_background(tmp_path):
    values = np.where(IDS == 2, np.nan, IDS).astype(np.float32)
    assert np.array_equal(mask_of(raster(tmp_path / "a.tif", values, SCENE)), IDS * (IDS == 1))
    with pytest.raises(BadDataError, match="not whole numbers"):
        mask_of(raster(tmp_path / "b.tif", values * 0.5, SCENE))


@pytest.mark.parametrize("rows", [1, 13, 4096])
def test_reading_by_strips_changes_nothing(tmp_path, monkeypatch, rows):
    path = raster(tmp_path / "a_mask.tif", IDS, SCENE)
    whole = table_of(path)
    monkeypatch.setattr(raster_mask, "_STRIP_PX", rows * SIZE)
    parts = table_of(path)
    assert len(parts) == len(whole) == 2
    assert all(any(part.geometry.equals(other.geometry) for other in whole) for part in parts)


def test_a_mask_of_the_source_labels_the_resampled_scene(tmp_path):
    """A pixel of the scene takes what the mask holds at its centre."""
    scene = target_grid(SCENE, None, 1.5)
    assert (scene.width, scene.height) == (32, 32)
    nearest = IDS[1::3, 1::3]
    for path in (raster(tmp_path / "a_mask.png", IDS), raster(tmp_path / "a_mask.tif", IDS, SCENE)):
        assert np.array_equal(by_strips(table_of(path, scene, SCENE), 32, scene), nearest)


@pytest.mark.parametrize("georeferenced", [True, False])
def test_a_mask_in_another_crs_is_resampled_to_the_scenes_grid(tmp_path, georeferenced):
    scene = target_grid(SCENE, "EPSG:3857", None)
    path = raster(tmp_path / "a_mask.tif", IDS, SCENE if georeferenced else None)
    expected = np.zeros((scene.height, scene.width), np.uint8)
    reproject(
        IDS,
        expected,
        src_transform=SCENE.transform,
        src_crs=SCENE.crs,
        dst_transform=scene.transform,
        dst_crs=scene.crs,
        resampling=Resampling.nearest,
        tolerance=0,
    )
    assert np.array_equal(by_strips(table_of(path, scene, SCENE), scene.height, scene), expected)
    assert expected.any()


def test_a_larger_mask_is_read_where_the_scene_lies(tmp_path):
    around = np.full((SIZE + 60, SIZE + 40), 2, dtype=np.uint8)
    around[30 : 30 + SIZE, 20 : 20 + SIZE] = IDS
    around[0, 0] = 200  # a value without a class, but not in the scene
    grid = Grid(SIZE + 40, SIZE + 60, SCENE.transform @ Affine.translation(-20, -30), SCENE.crs)
    assert np.array_equal(mask_of(raster(tmp_path / "a_mask.tif", around, grid)), IDS)


def test_a_mask_of_a_part_says_so(tmp_path):
    half = Grid(SIZE, SIZE // 2, SCENE.transform, SCENE.crs)
    path = raster(tmp_path / "a_mask.tif", IDS[: SIZE // 2], half)
    labels = read_labels(path, AnnotationConfig(), CLASSES).for_scene(SceneFrame(("a.tif",), SCENE, (SCENE,)))
    assert labels.notes == ("a_mask.tif covers 50% of the scene; the rest counts as background",)
    assert np.array_equal(mask_of(path)[: SIZE // 2], IDS[: SIZE // 2])
    assert not mask_of(path)[SIZE // 2 :].any()


@pytest.mark.parametrize("drawn_on_the_target", [False, True])
def test_a_mask_of_all_a_reprojected_scene_shows_says_nothing(tmp_path, drawn_on_the_target):
    scene = target_grid(SCENE, "EPSG:3035", None)
    on = scene if drawn_on_the_target else SCENE
    assert shapely.area(scene.outline) > 1.01 * shapely.area(SCENE.outline)
    path = raster(tmp_path / "a_mask.tif", np.ones((on.height, on.width), dtype=np.uint8), on)
    frame = SceneFrame(("a.tif",), scene, (SCENE, scene))
    assert read_labels(path, AnnotationConfig(), CLASSES).for_scene(frame).notes == ()


def test_a_mask_of_nearly_all_is_not_said_to_cover_all(tmp_path):
    wide = Grid(1000, 10, SCENE.transform, SCENE.crs)
    path = raster(tmp_path / "a_mask.tif", np.ones((10, 997), dtype=np.uint8), Grid(997, 10, wide.transform, wide.crs))
    (note,) = read_labels(path, AnnotationConfig(), CLASSES).for_scene(SceneFrame(("a.tif",), wide, (wide,))).notes
    assert "covers 99% of the scene" in note


def test_a_scene_without_crs_takes_a_mask_of_its_size(tmp_path):
    table = table_of(raster(tmp_path / "a_mask.png", IDS), PIXELS)
    assert np.array_equal(by_strips(table, 10, PIXELS), IDS)


def test_a_mask_of_background_is_a_checked_negative(tmp_path):
    assert len(table_of(raster(tmp_path / "a_mask.png", IDS * 0))) == 0


@pytest.mark.parametrize(
    ("ids", "grid", "words"),
    [
        (IDS[:90], None, "96 x 90 pixels and no georeference, but the scene has 96 x 96"),
        (IDS, Grid(SIZE, SIZE, Affine(0.5, 0, 0, 0, -0.5, 0), "EPSG:32632"), "does not touch the scene"),
        (IDS + 3, SCENE, r"9216 pixels from row 0 on have values without a class: 3, 4, 5; say in the project file"),
        (np.stack([IDS, IDS]), SCENE, "has 2 bands of uint8; a mask has one band"),
        (IDS.astype(np.int16) - 1, SCENE, "without a class: -1"),
        (IDS.astype(np.int32) * 70_000, SCENE, "without a class: 70000, 140000"),
        (np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE), SCENE, "3, 4, 5, 6, 7, 8, 9, 10 and 9205 more"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_with_the_reason(tmp_path, ids, grid, words):
    with pytest.raises(BadDataError, match=words):
        table_of(raster(tmp_path / "a_mask.tif", ids, grid))


def test_a_georeferenced_mask_needs_a_scene_with_a_place(tmp_path):
    with pytest.raises(BadDataError, match="the mask is in EPSG:32632 but the scene has no CRS"):
        table_of(raster(tmp_path / "a_mask.tif", IDS, SCENE), PIXELS)


@pytest.mark.parametrize("content", [b"", b"text, no raster", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_mask_is_refused(tmp_path, content):
    (tmp_path / "a_mask.png").write_bytes(content)
    with pytest.raises(BadDataError):
        table_of(tmp_path / "a_mask.png")
    whole = raster(tmp_path / "b_mask.tif", np.random.default_rng(0).integers(0, 2, (96, 96)).astype(np.uint8), SCENE)
    whole.write_bytes(whole.read_bytes()[:-3000])
    with pytest.raises(BadDataError, match="damaged or truncated"):
        table_of(whole)


def test_jpeg_is_no_mask(tmp_path):
    with pytest.raises(BadDataError, match="JPEG changes pixel values"):
        table_of(raster(tmp_path / "a_mask.jpg", IDS * 90, driver="JPEG"))


def test_wrong_mask_values_are_wrong_configuration():
    for values, words in [
        ({"bulding": 1}, "'bulding' is no class of the project"),
        ({"building": 1, "road": (2, 1)}, "1 stands for 'building' and 'road'"),
        ({"building": "#FF0000", "road": "#ff0000"}, "#ff0000 stands for"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            check_mask_values(AnnotationConfig(mask_values=values), CLASSES)
    check_mask_values(AnnotationConfig(mask_values={"building": 1, "background": (9, "#ffffff")}), CLASSES)
