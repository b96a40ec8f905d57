"""Overviews made with the parts are those that GDAL would make."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from satseg.inference import parts
from satseg.inference.blend import FinishedRows
from satseg.inference.maps import Maps
from satseg.inference.overviews import halved_mean, halved_mode
from satseg.inference.parts import Layout, Parts
from satseg.scenes.cog import copy_to_cog
from satseg.scenes.grid import Grid

CLASSES = ("a", "b")


def write_maps(folder: Path, probabilities: NDArray[np.float32], valid: NDArray[np.bool_], dtype: str) -> Path:
    """Write both maps in parts of two panels, in rows that fit no part."""
    height, width = valid.shape
    layout = Layout(height, width, 512)
    maps = Maps(Parts(folder / "parts", layout, 2, dtype), Grid(width, height, Affine.identity(), None), CLASSES, 0.5)
    for region in layout.regions(range(height)):
        columns = slice(region.left, region.right)
        rows = (
            FinishedRows(top, probabilities[top : top + 100, columns], valid[top : top + 100, columns])
            for top in range(0, height, 100)
        )
        assert list(maps.write(region, rows))
    maps.write_probability(folder / "probability.tif", {})
    maps.write_classes(folder / "classes.tif", {})
    return folder


def overviews(path: Path) -> list[NDArray]:
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        count = len(dataset.overviews(1))
    found = []
    for level in range(count):
        with rasterio.open(path, overview_level=level) as dataset:
            found.append(dataset.read())
    return found


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_overviews_are_those_of_gdal(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((1536, 1024, 3)).astype(np.float32)
    valid = rng.random((1536, 1024)) < 0.7
    valid[600:1100, 300:700] = False
    folder = write_maps(tmp_path, probabilities, valid, dtype)
    for name, resampling in (("probability", "average"), ("classes", "mode")):
        with rasterio.open(folder / f"{name}.tif") as dataset:
            copy_to_cog(dataset, folder / "gdal.tif", resampling)
        found, expected = overviews(folder / f"{name}.tif"), overviews(folder / "gdal.tif")
        assert [pixels.shape for pixels in found] == [pixels.shape for pixels in expected]
        assert len(found) == 2
        for ours, theirs in zip(found, expected, strict=True):
            if ours.dtype == np.uint8:
                assert (ours == theirs).all()
            else:
                np.testing.assert_allclose(ours, theirs, atol=1e-3 if dtype == "float16" else 1e-6)


def test_overviews_of_odd_sizes_keep_the_last_rows_and_columns(tmp_path: Path) -> None:
    valid = np.ones((1101, 1025), bool)
    probabilities = np.zeros((1101, 1025, 3), np.float32)
    probabilities[1100:, :, 2] = probabilities[:, 1024:, 2] = 1
    folder = write_maps(tmp_path, probabilities, valid, "uint8")
    levels = overviews(folder / "classes.tif")
    assert [level.shape[1:] for level in levels] == [(551, 513), (276, 257)]
    assert (levels[0][0, -1] == 2).all()
    assert (levels[0][0, :, -1] == 2).all()
    assert (levels[0][0, :-1, :-1] == 0).all()


def test_a_map_of_one_tile_has_no_overviews(tmp_path: Path) -> None:
    folder = write_maps(tmp_path, np.ones((200, 512, 3), np.float32), np.ones((200, 512), bool), "uint8")
    assert overviews(folder / "classes.tif") == []


def test_a_very_large_map_is_halved_as_often_as_a_part_can_be() -> None:
    assert Parts(Path("x"), Layout(400_000, 400_000, 512), 1, "uint8").overviews == parts.MOST_OVERVIEWS
    assert Parts(Path("x"), Layout(512, 513, 512), 1, "uint8").overviews == 1


def test_pixels_without_data_do_not_count() -> None:
    pixels = np.array([[10, 255, 255, 255], [21, 255, 255, 255]], np.uint8)
    assert halved_mean(pixels, 255).tolist() == [[16, 255]]
    assert np.isnan(halved_mean(np.full((2, 2), np.nan, np.float32), np.nan)).all()


def test_the_mode_of_four_is_the_pair_that_is_complete_first() -> None:
    rows = [([1, 2], [2, 1], 2), ([1, 2], [1, 2], 1), ([1, 2], [3, 1], 1), ([1, 2], [3, 3], 3), ([4, 2], [3, 1], 4)]
    for upper, lower, mode in rows:
        assert halved_mode(np.array([upper, lower], np.uint8)).tolist() == [[mode]]
