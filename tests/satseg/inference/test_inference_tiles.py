"""Tiles of a map: which window each shows, and what is drawn where there is no data."""

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import from_origin

from satseg.errors import NotFoundError
from satseg.inference.tiles import TILE_PX, draw_scene, max_zoom, png, scene_stretch, tile_view, whole_view

SIDES = st.integers(1, 100_000)


@given(SIDES, SIDES)
def test_zoom_zero_shows_the_whole_map_in_one_tile(height, width):
    view = tile_view(height, width, 0, 0, 0)
    assert (view.window.height, view.window.width) == (height, width)
    assert max(view.height, view.width) <= TILE_PX
    for x, y in ((1, 0), (0, 1)):
        with pytest.raises(NotFoundError, match="no tile"):
            tile_view(height, width, 0, x, y)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 4))
def test_tiles_of_a_zoom_cover_the_map_once(height, width, z):
    if z > max_zoom(height, width):
        return
    covered, x = 0, 0
    while x * TILE_PX * 2 ** (max_zoom(height, width) - z) < width:
        y = 0
        while y * TILE_PX * 2 ** (max_zoom(height, width) - z) < height:
            window = tile_view(height, width, z, x, y).window
            covered += window.height * window.width
            y += 1
        x += 1
    assert covered == height * width


def written(path: Path, pixels: np.ndarray) -> Path:
    bands, height, width = pixels.shape
    about = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=from_origin(0, 0, 1, 1), **about) as out:
        out.write(pixels)
    return path


def test_at_the_highest_zoom_a_pixel_is_a_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 300, 400), dtype=np.uint8)
    path = written(tmp_path / "a.tif", pixels)
    stretch = scene_stretch(path, ("red", "green", "blue"))
    view = tile_view(300, 400, max_zoom(300, 400), 1, 1)
    drawn = draw_scene(path, stretch, view)
    assert drawn.shape == (44, 144, 4)
    unit = (pixels[:, 256:, 256:].astype(np.float32) - stretch.low) / (stretch.high - stretch.low)
    assert np.array_equal(drawn[..., :3], np.moveaxis(unit.clip(0, 1) * 255, 0, -1).astype(np.uint8))


def test_bands_are_found_by_name_and_a_tile_is_filled_up(tmp_path):
    pixels = np.stack([np.full((50, 60), value, np.uint8) for value in (10, 20, 30, 40)])
    stretch = scene_stretch(written(tmp_path / "a.tif", pixels), ("nir", "blue", "green", "red"))
    assert stretch.bands == (4, 3, 2)
    tile = Image.open(io.BytesIO(png(np.full((50, 60, 4), 255, np.uint8), tile=True)))
    alpha = np.asarray(tile)[..., 3]
    assert tile.size == (TILE_PX, TILE_PX)
    assert alpha[:50, :60].all()
    assert alpha.sum() == 50 * 60 * 255


def test_a_whole_view_is_never_enlarged():
    assert (whole_view(100, 50, 1024).height, whole_view(100, 50, 1024).width) == (100, 50)
    assert (whole_view(4000, 1000, 1000).height, whole_view(4000, 1000, 1000).width) == (1000, 250)
