"""The PNGs of a report."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from satseg.evaluation import pictures
from satseg.evaluation.drawing import CORRECT, FALSE, MISSED, agreement, coloured_classes, patch_set_colour, true_colour
from satseg.evaluation.pictures import Pictures, SceneMap, sample, write_samples
from satseg.evaluation.samples import choose
from satseg.evaluation.tally import Tally
from satseg.evaluation.windows import Batch, HeldOut

SIZE = 10


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    return image, *random.integers(0, 2, (2, 30, 40)).astype(np.uint8)


@pytest.fixture
def patch_set():
    return SimpleNamespace(
        bands=("red", "green", "blue"), statistics=SimpleNamespace(mean=(100, 100, 100), std=(40, 40, 40))
    )


def window(number, row=0, col=0, scene="a", positive=True):
    return HeldOut(number, scene, row, col, SIZE, "0", True, positive, 0.0, 0, number)


def cut(array, places):
    return np.stack([array[row : row + SIZE, col : col + SIZE] for row, col in places])


def batch_of(scene, places):
    image, labels, predicted = scene
    windows = tuple(window(number, row, col) for number, (row, col) in enumerate(places))
    masks = cut(labels, places)
    return Batch(windows, cut(image, places), masks, np.ones(masks.shape, bool)), cut(predicted, places)


@pytest.mark.parametrize("largest", [100, 13, 7])
def test_scene_map_equals_every_nth_pixel_of_the_whole_scene(scene, patch_set, monkeypatch, largest):
    monkeypatch.setattr(pictures, "MAP_MAX_PX", largest)
    places = [(row, col) for row in range(0, 30, SIZE) for col in range(0, 40, SIZE)]
    batch, guesses = batch_of(scene, places)
    drawn = SceneMap(batch.windows, patch_set)
    drawn.paint(batch, guesses)
    step = -(-40 // largest)
    image, labels, predicted = scene
    whole = agreement(patch_set_colour(image, patch_set), labels, predicted)[::step, ::step]
    assert (drawn._canvas == whole).all()
    assert max(drawn._canvas.shape) <= largest


def test_what_is_not_test_stays_white(scene, patch_set):
    batch, guesses = batch_of(scene, [(0, 0), (20, 30)])
    drawn = SceneMap(batch.windows, patch_set)
    drawn.paint(batch, guesses)
    assert (drawn._canvas[:10, 10:30] == 255).all()
    assert drawn._canvas.shape == (30, 40, 3)


def test_pixels_counted_by_an_earlier_window_keep_its_colours(scene, patch_set):
    batch, guesses = batch_of(scene, [(0, 0), (5, 0)])
    batch.valid[1, :5] = False
    drawn = SceneMap(batch.windows, patch_set)
    drawn.paint(batch, guesses)
    image, labels, predicted = (array[:15, :10] for array in scene)
    assert (drawn._canvas == agreement(patch_set_colour(image, patch_set), labels, predicted)).all()


def test_pictures_are_one_map_per_scene_and_the_extreme_windows_as_they_were_predicted(
    scene, patch_set, tmp_path, monkeypatch
):
    batch, guesses = batch_of(scene, [(0, 0), (0, 10), (10, 0)])
    patch_set.images, patch_set.masks = (lambda shard: batch.images), (lambda shard: batch.labels)
    windows = [window(0), window(1, 0, 10), window(2, 10, 0, scene="b")]
    tally = Tally.of(("building",), windows, bins=5)
    tally.window_hits[:] = [[1, 2], [9, 10], [0, 5]]
    seen = []
    monkeypatch.setattr(pictures, "write_samples", lambda samples, path: seen.extend(samples))
    with Pictures(tmp_path, patch_set, tally, windows) as drawn:
        for number in (0, 1):
            drawn.add(windows[number], guesses[number], batch.valid[number])
            assert list(drawn.maps) == []
        drawn.add(windows[2], guesses[2], batch.valid[2])
        assert list(drawn.maps) == ["a"]
        drawn.finish()
    assert [path.name for path in drawn.paths] == ["samples.png", "scene-a.png", "scene-b.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene-a.png", "scene-b.png"]
    assert Image.open(tmp_path / "scene-a.png").size == (420, SIZE + 2 * pictures.LINE_PX)
    assert [one.caption.split(":")[0] for one in seen] == ["worst"] * 3
    worst = seen[0]
    assert "b, row 10, column 0, IoU 0.000" in worst.caption
    assert (worst.tiles[2] == coloured_classes(guesses[2])).all()


def test_sample_sheet_has_a_row_per_window(scene, patch_set, tmp_path):
    batch, guesses = batch_of(scene, [(0, 0)])
    row = sample("best: a, row 0", batch, guesses, patch_set)
    heights = []
    for count in (1, 3):
        write_samples([row] * count, tmp_path / "samples.png")
        heights.append(Image.open(tmp_path / "samples.png").size[1])
    assert heights[1] - heights[0] == 2 * (pictures.TILE_PX + pictures.LINE_PX + pictures.GAP_PX)


def test_samples_are_the_extremes_and_the_middle():
    windows = [window(number) for number in range(11)]
    chosen = choose(windows, {number: number / 10 for number in range(11)}, per_kind=2)
    assert [(kind, w.number) for kind, w in chosen] == [
        ("worst", 0), ("worst", 1), ("typical", 4), ("typical", 5), ("best", 10), ("best", 9),
    ]  # fmt: skip


@pytest.mark.parametrize("count", range(8))
def test_few_windows_are_shown_once_each(count):
    chosen = choose([window(number) for number in range(count)], dict.fromkeys(range(count), 0.5), per_kind=2)
    assert len({w.number for _, w in chosen}) == len(chosen) == min(count, 6)


def test_samples_prefer_windows_with_labels():
    windows = [window(0, positive=False), window(1), window(2, positive=False)]
    assert [w.number for _, w in choose(windows, dict.fromkeys(range(3), 1.0))] == [1]
    assert len(choose([windows[0], windows[2]], dict.fromkeys(range(3), 1.0))) == 2


def test_agreement_colours():
    colour = np.zeros((1, 5, 3), np.uint8)
    labels, predicted = np.array([[1, 0, 1, 0, 1]], np.uint8), np.array([[1, 1, 0, 0, 1]], np.uint8)
    drawn = agreement(colour, labels, predicted, np.array([[True, True, True, True, False]])).astype(int)
    nearest = [min((CORRECT, FALSE, MISSED, (40, 40, 40)), key=lambda c: abs(drawn[0, i] - c).sum()) for i in range(5)]
    assert nearest == [CORRECT, FALSE, MISSED, (40, 40, 40), (40, 40, 40)]


def test_true_colour_takes_bands_by_name_and_centres_the_mean():
    image = np.zeros((2, 2, 4), np.uint16)
    image[..., 2], image[..., 1], image[..., 0], image[..., 3] = 1000, 500, 2000, 60000
    drawn = true_colour(image, ("blue", "green", "red", "nir"), (2000, 500, 500, 9), (100, 100, 250, 9))
    assert drawn[0, 0].tolist() == [255, 127, 127]


def test_class_colours_differ_and_background_is_black():
    drawn = coloured_classes(np.arange(4, dtype=np.uint8)[None])
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert len({tuple(pixel) for pixel in drawn[0]}) == 4
