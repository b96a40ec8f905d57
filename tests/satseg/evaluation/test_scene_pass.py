"""Held-out ground is predicted as in a map of the whole scene, each pixel counts once, and nothing else is read."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.config.project import ProjectConfig
from satseg.evaluation import scene_pass
from satseg.evaluation.scene_pass import ScenePass, Scenes, islands, rules_of
from satseg.evaluation.scene_rows import NeededRows, Predictor
from satseg.evaluation.tally import Tally
from satseg.evaluation.truth import HeldOutRows
from satseg.evaluation.windows import HeldOut, evenly, held_out
from satseg.inference.blend import blend
from satseg.inference.windows import plan_windows, read_strips
from satseg.scenes.raster import SceneReader, open_scene

HEIGHT, WIDTH, SIZE, LEVEL = 300, 410, 32, 0.5
INFERENCE = {"window_px": 64, "overlap": 0.5, "batch_size": 3, "min_area_m2": 0, "threshold": LEVEL}
PROJECT = ProjectConfig.model_validate(
    {"name": "houses", "classes": ["building"], "inference": INFERENCE, "evaluation": {"repetitions": 200}}
)


@pytest.fixture
def scene():
    random = np.random.default_rng(7)
    coarse = random.integers(0, 2, (HEIGHT // 10 + 1, WIDTH // 10 + 1)) * 200
    ground = np.kron(coarse, np.ones((10, 10), int))[:HEIGHT, :WIDTH, None]
    return (ground + random.integers(0, 50, (HEIGHT, WIDTH, 3))).astype(np.uint8)


def whole_map(path, segmenter):
    """Probabilities (H, W) of the whole scene, as `satseg predict` makes them."""

    class AllRows:
        def __init__(self, reader):
            self.height, self.width, self._reader = reader.height, reader.width, reader

        def read_rows(self, start, stop):
            if stop <= start:
                return np.zeros((0, self.width, 3), np.uint8), np.zeros((0, self.width), bool)
            pixels = self._reader.read(start, 0, stop - start, self.width)
            return pixels, np.ones(pixels.shape[:2], bool)

    with open_scene(path) as reader:
        grid = plan_windows(reader.height, reader.width, 64, 0.5)
        rows = blend(read_strips(AllRows(reader), grid), grid, segmenter.predict, 1, 3)
        return np.concatenate([some.probabilities[..., 0] for some in rows])


WINDOWS = [
    ("a", 0, 0, "test", "a/0-0"),
    ("a", 0, SIZE, "test", "a/0-0"),
    ("a", 100, 200, "test", "a/1-2"),
    ("a", 116, 210, "test", "a/1-2"),  # overlaps the one before, as shifted windows do
    ("a", HEIGHT - SIZE, WIDTH - SIZE, "test", "a/4-4"),
    ("a", 60, 330, "val", "a/0-4"),
    ("a", 200, 20, "train", "a/3-0"),
]


def labels_of(scene, windows=WINDOWS):
    labels = (scene[..., 0] > 100).astype(np.uint8)
    return labels, np.stack([labels[row : row + SIZE, col : col + SIZE] for _, row, col, *_ in windows])


def measured(workspace, patch_set, segmenter, project=PROJECT):
    windows = held_out(patch_set)
    tally, seen = Tally.of(patch_set.classes, windows, 15), {}
    predictor = Predictor(segmenter, project.inference)
    whole = ScenePass(
        project, patch_set, Scenes(workspace, patch_set), predictor, tally,
        lambda window, ids, valid: seen.__setitem__(window.number, (window, ids, valid)),
    )  # fmt: skip
    warnings = whole.run([*windows, *held_out(patch_set, "val", len(windows))])
    return tally, seen, warnings


def expected(windows, probabilities, labels, valid=None):
    """Per block (TP, FP, FN, TN) from the whole map, each pixel once, by the first window that has it."""
    owner = np.full(labels.shape, "", object)
    for scene, row, col, split, block in reversed(windows):
        owner[row : row + SIZE, col : col + SIZE] = block if split == "test" else ""
        assert scene == "a"
    if valid is not None:
        owner[~valid] = ""
    found = {}
    for block in sorted(set(owner[owner != ""])):
        here, guess, truth = owner == block, probabilities >= LEVEL, labels > 0
        found[block] = [int((here & a & b).sum()) for a, b in ((truth, guess), (~truth, guess), (truth, ~guess))]
        found[block].append(int((here & ~truth & ~guess).sum()))
    return found


@pytest.mark.parametrize("wide_px", [10_000, 100])
def test_counts_equal_those_of_the_map_of_the_whole_scene(dataset, scene, segmenter, monkeypatch, wide_px):
    monkeypatch.setattr(scene_pass, "WIDE_PX", wide_px)
    dataset.add("a", scene)
    dataset.tag("v1")
    labels, masks = labels_of(scene)
    patch_set = dataset.patch_set("0" * 12, WINDOWS, masks=masks)
    tally, seen, warnings = measured(dataset.workspace, patch_set, segmenter)
    used = segmenter.windows
    probabilities = whole_map(dataset.workspace.dataset("houses") / "scenes" / "a.tif", segmenter)
    counts = {key.block: tally.counts()[number, 0].tolist() for number, key in enumerate(tally.keys)}
    assert warnings == []
    assert counts == expected(WINDOWS, probabilities, labels)
    assert used < 0.6 * (segmenter.windows - used)  # windows that touch no held-out ground are not predicted
    for window, ids, valid in seen.values():
        place = np.s_[window.row : window.row + SIZE, window.col : window.col + SIZE]
        assert (ids == ((probabilities[place] >= LEVEL) & valid | (ids == 1) & ~valid)).all()
    assert [int(valid.sum()) for *_, valid in seen.values()].count(SIZE * SIZE) == 4
    overlapped = seen[3][2]
    assert not overlapped[: SIZE - 16, : SIZE - 10].any()
    assert overlapped.sum() == SIZE * SIZE - (SIZE - 16) * (SIZE - 10)


def test_threshold_sweep_is_of_the_validation_windows_alone(dataset, scene, segmenter):
    dataset.add("a", scene)
    dataset.tag("v1")
    labels, masks = labels_of(scene)
    patch_set = dataset.patch_set("0" * 12, WINDOWS, masks=masks)
    tally, *_ = measured(dataset.workspace, patch_set, segmenter)
    probabilities = whole_map(dataset.workspace.dataset("houses") / "scenes" / "a.tif", segmenter)
    place = np.s_[60 : 60 + SIZE, 330 : 330 + SIZE]
    assert tally.sweep.sum() == SIZE * SIZE
    assert tally.sweep[50:, 1].sum() == ((np.floor(probabilities[place] * 100) >= 50) & (labels[place] > 0)).sum()


def test_nodata_counts_nowhere(dataset, scene, segmenter):
    scene = np.maximum(scene, 1)
    scene[:, :20] = 0
    dataset.add("a", scene, nodata=0)
    dataset.tag("v1")
    labels, masks = labels_of(scene)
    patch_set = dataset.patch_set("0" * 12, WINDOWS, masks=masks)
    tally, seen, _ = measured(dataset.workspace, patch_set, segmenter)
    assert tally.confusion[0].sum() == 2 * SIZE * SIZE - 20 * SIZE
    assert not seen[0][2][:, :20].any()
    probabilities = whole_map(dataset.workspace.dataset("houses") / "scenes" / "a.tif", segmenter)
    valid = np.ones(labels.shape, bool)
    valid[:, :20] = False
    counts = {key.block: tally.counts()[number, 0].tolist() for number, key in enumerate(tally.keys)}
    assert counts == expected(WINDOWS, probabilities, labels, valid)


def test_only_columns_the_model_needs_are_read(dataset, scene, monkeypatch):
    dataset.add("a", scene)
    asked = []
    read = SceneReader.read
    monkeypatch.setattr(SceneReader, "read", lambda self, *place, **more: asked.append(place) or read(self, *place))
    window = HeldOut(0, "a", 100, 200, SIZE, "b", True, True, 0.0, 0, 0)
    far = replace(window, row=250, col=20, number=1)
    ground, grid = HeldOutRows([window, far], HEIGHT, WIDTH), plan_windows(HEIGHT, WIDTH, 64, 0.5)
    with open_scene(dataset.workspace.dataset("houses") / "scenes" / "a.tif") as reader:
        pixels = sum(strip.valid.sum() for strip in read_strips(NeededRows(reader, grid, ground), grid))
    assert pixels > 0
    assert sum(height * width for _, _, height, width in asked) < 0.35 * HEIGHT * WIDTH
    # no row that no model window over the held-out windows sees
    assert all(row + height > 100 - 64 for row, _, height, _ in asked)


def test_windows_of_a_scene_that_is_gone_are_predicted_one_by_one(dataset, scene, segmenter):
    dataset.add("other", scene)
    dataset.tag("v1")
    _, masks = labels_of(scene)
    pixels = np.stack([scene[row : row + SIZE, col : col + SIZE] for _, row, col, *_ in WINDOWS])
    patch_set = dataset.patch_set("0" * 12, WINDOWS, masks=masks, pixels=pixels)
    tally, seen, warnings = measured(dataset.workspace, patch_set, segmenter)
    assert len(warnings) == 1
    assert "Scene a is not there any more" in warnings[0]
    assert tally.confusion.sum() == 5 * SIZE * SIZE - (SIZE - 16) * (SIZE - 10)
    assert [window.row for window, *_ in seen.values()] == [row for _, row, _, split, _ in WINDOWS if split == "test"]
    guess = seen[0][1]
    assert 0.8 < (guess == masks[0]).mean() < 1  # a blur that knows only the window


places = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=10)


@given(places, st.integers(0, 30), st.integers(1, 30))
def test_each_pixel_belongs_to_the_first_window_that_has_it(chosen, top, height):
    size, extent = 8, 28
    windows = [HeldOut(n, "a", row, col, size, "b", True, True, 0.0, 0, n) for n, (row, col) in enumerate(chosen)]
    ground = HeldOutRows(windows, extent, extent)
    owners = np.full((60, 60), -1)
    for number, (row, col) in reversed(list(enumerate(chosen))):
        owners[row : row + size, col : col + size] = number
    inside = slice(ground.left, ground.right)
    assert (ground.owners(top, top + height) == owners[top : top + height, inside]).all()
    masks = np.random.default_rng(0).integers(0, 5, (len(windows), size, size)).astype(np.uint8)
    labels = ground.labels(top, top + height, lambda window, start, stop: masks[window.number, start:stop])
    for row, col in np.argwhere(owners[top : top + height, inside] >= 0):
        number = owners[top + row, ground.left + col]
        y, x = top + row - windows[number].row, ground.left + col - windows[number].col
        assert labels[row, col] == masks[number, y, x]
    for position in range(len(windows)):
        row, col = windows[position].row, windows[position].col
        assert (ground.own_pixels(position) == (owners[row : row + size, col : col + size] == position)).all()


def test_islands_are_windows_that_touch():
    def at(number, row, col):
        return HeldOut(number, "a", row, col, 8, "b", True, True, 0.0, 0, number)

    windows = [at(0, 0, 0), at(1, 40, 40), at(2, 0, 8), at(3, 8, 16), at(4, 60, 40), at(5, 44, 44)]
    assert [[one.number for one in group] for group in islands(windows)] == [[0, 2, 3], [1, 5], [4]]


def test_windows_of_the_sweep_are_spread_evenly():
    windows = [HeldOut(n, "a", 0, n, 8, "b", True, True, 0.0, 0, n) for n in range(10)]
    assert [one.number for one in evenly(windows, 4)] == [0, 3, 6, 9]
    assert evenly(windows, 99) == windows
    assert evenly([], 5) == []


def test_lengths_and_areas_become_pixels(dataset):
    patch_set = dataset.patch_set("0" * 12, WINDOWS)
    given = {"boundary_m": 1.6, "small_below_m2": 10, "large_from_m2": 40}
    project = PROJECT.model_copy(update={"evaluation": PROJECT.evaluation.model_copy(update=given)})
    rules = rules_of(project, patch_set, 0.25)
    assert (rules.boundary_px, rules.size_edges_px) == (3, (40.0, 160.0))
    assert rules_of(PROJECT, patch_set, None).boundary_px == round(0.02 * 2**0.5 * SIZE)
