import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize as burn
from scipy.ndimage import label as components

from satseg.annotations import vectorise as module
from satseg.annotations.masks import rasterize
from satseg.annotations.table import LabelledPolygon
from satseg.annotations.vectorise import vectorise


def strips_of(ids: np.ndarray, rows: int):
    for row in range(0, len(ids), rows):
        yield row, 0, ids[row : row + rows]


def random_ids(seed: int, height: int, width: int) -> np.ndarray:
    """Noise of several grains: single pixels, corners that touch, larger areas with holes."""
    rng = np.random.default_rng(seed)
    grain = int(rng.integers(1, 5))
    coarse = rng.integers(0, 4, (-(-height // grain), -(-width // grain)))
    ids = np.kron(coarse, np.ones((grain, grain), dtype=int))[:height, :width].astype(np.uint8)
    ids[rng.random(ids.shape) < 0.05] = 0
    return ids


def burnt(found, shape) -> np.ndarray:
    return burn(found, out_shape=shape, dtype="uint8") if found else np.zeros(shape, np.uint8)


def count(ids: np.ndarray) -> int:
    return sum(components(ids == value)[1] for value in range(1, 4))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 60), width=st.integers(1, 60), rows=st.integers(1, 60))
def test_polygons_give_the_same_pixels_again_and_are_whole_areas(seed, height, width, rows):
    ids = random_ids(seed, height, width)
    found = vectorise(strips_of(ids, rows))
    assert np.array_equal(burnt(found, ids.shape), ids)
    assert all(polygon.is_valid for polygon, _ in found)
    assert len(found) == count(ids)  # one polygon per connected area, wherever the strips were cut


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40))
def test_areas_larger_than_a_tile_stay_in_pieces(seed, rows):
    ids = random_ids(seed, 40, 50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TILE_PX", 8)
        found = vectorise(strips_of(ids, rows))
    assert np.array_equal(burnt(found, ids.shape), ids)
    assert len(found) >= count(ids)
    bounds = shapely.bounds([polygon for polygon, _ in found])
    assert (bounds[:, 2:] - bounds[:, :2]).max() <= 8


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), angle=st.floats(0, 90), side=st.floats(0.01, 100))
def test_the_pixels_come_back_on_any_grid_too(seed, angle, side):
    ids = random_ids(seed, 30, 40)
    grid = Affine.translation(412_345.678, 5_612_345.9) @ Affine.rotation(angle) @ Affine.scale(side, -side)
    move = lambda xy: np.array([grid @ tuple(point) for point in xy])  # noqa: E731
    table = [LabelledPolygon(shapely.transform(area, move), value, "x") for area, value in vectorise([(0, 0, ids)])]
    assert np.array_equal(rasterize(table, grid, 30, 40), ids)
