"""The PNGs of a report."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from satseg.evaluation import pictures
from satseg.evaluation.drawing import agreement, patch_set_colour
from satseg.evaluation.measure import Measurement
from satseg.evaluation.pictures import SceneMap, SceneMaps, sample, write_samples
from satseg.evaluation.scores import confusion
from satseg.evaluation.windows import Batch, HeldOut

SIZE = 10
PATCH_SET = SimpleNamespace(
    bands=("red", "green", "blue"), statistics=SimpleNamespace(mean=(100, 100, 100), std=(40, 40, 40))
)


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    return image, *random.integers(0, 2, (2, 30, 40)).astype(np.uint8)


def batch_of(scene, places):
    image, labels, predicted = scene
    windows = tuple(
        HeldOut(number, "a", row, col, SIZE, "0", True, True, 0.0, 0, number)
        for number, (row, col) in enumerate(places)
    )
    cut = [
        tuple(array[row : row + SIZE, col : col + SIZE] for row, col in places) for array in (image, labels, predicted)
    ]
    images, masks, guesses = (np.stack(tiles) for tiles in cut)
    return Batch(windows, images, masks, np.ones(masks.shape, bool)), guesses


@pytest.mark.parametrize("largest", [100, 13, 7])
def test_scene_map_equals_every_nth_pixel_of_the_whole_scene(scene, monkeypatch, largest):
    monkeypatch.setattr(pictures, "MAP_MAX_PX", largest)
    places = [(row, col) for row in range(0, 30, SIZE) for col in range(0, 40, SIZE)]
    batch, guesses = batch_of(scene, places)
    drawn = SceneMap(batch.windows, PATCH_SET)
    drawn.paint(batch, guesses)
    step = -(-40 // largest)
    image, labels, predicted = scene
    whole = agreement(patch_set_colour(image, PATCH_SET), labels, predicted)[::step, ::step]
    assert (drawn._canvas == whole).all()
    assert max(drawn._canvas.shape) <= largest


def test_what_is_not_test_stays_white(scene):
    batch, guesses = batch_of(scene, [(0, 0), (20, 30)])
    drawn = SceneMap(batch.windows, PATCH_SET)
    drawn.paint(batch, guesses)
    assert (drawn._canvas[:10, 10:30] == 255).all()
    assert drawn._canvas.shape == (30, 40, 3)


def test_pixels_counted_by_an_earlier_window_keep_its_colours(scene):
    batch, guesses = batch_of(scene, [(0, 0), (5, 0)])
    batch.valid[1, :5] = False
    drawn = SceneMap(batch.windows, PATCH_SET)
    drawn.paint(batch, guesses)
    image, labels, predicted = (array[:15, :10] for array in scene)
    assert (drawn._canvas == agreement(patch_set_colour(image, PATCH_SET), labels, predicted)).all()


def test_scene_maps_write_one_png_per_scene_when_it_is_complete(scene, tmp_path):
    batch, guesses = batch_of(scene, [(0, 0), (0, 10), (10, 0)])
    measurement = Measurement(("building",))
    for position, window in enumerate(batch.windows):
        measurement.add(window, confusion(batch.labels[position], guesses[position], 1))
    maps = SceneMaps(tmp_path, measurement, batch.windows, PATCH_SET)
    parts = [slice(0, 2), slice(2, 3)]
    for number, part in enumerate(parts):
        maps(Batch(batch.windows[part], batch.images[part], batch.labels[part], batch.valid[part]), guesses[part])
        assert len(maps.paths) == number
    assert maps.paths == [tmp_path / "scene-a.png"]
    assert Image.open(maps.paths[0]).size == (420, 20 + 2 * pictures.LINE_PX)


def test_sample_sheet_has_a_row_per_window(scene, tmp_path):
    batch, guesses = batch_of(scene, [(0, 0)])
    row = sample("best: a, row 0", batch, guesses, PATCH_SET)
    heights = []
    for count in (1, 3):
        write_samples([row] * count, tmp_path / "samples.png")
        heights.append(Image.open(tmp_path / "samples.png").size[1])
    assert heights[1] - heights[0] == 2 * (pictures.TILE_PX + pictures.LINE_PX + pictures.GAP_PX)
