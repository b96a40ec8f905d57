"""No model is scored on ground it was trained on, on whatever way it came to know that ground."""

from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError, NotFoundError
from satseg.evaluation import leaks
from satseg.evaluation.evaluate import _measurable, _validation
from satseg.evaluation.leaks import Trained, trained_ground
from satseg.evaluation.windows import held_out

SIZE = 32
UTM = Affine(0.5, 0, 450_000, 0, -0.5, 4_000_000)
OWN, OTHER, OLDEST = "a" * 12, "b" * 12, "c" * 12
PIXELS = np.full((200, 200, 3), 9, np.uint8)


def run(patch_set, start="", name="run"):
    return SimpleNamespace(id=name, tags={"satseg.patch_set": patch_set, "satseg.init_from": start})


@pytest.fixture
def tested(dataset):
    """A patch set of scene a with two test windows, and scenes that meet it or not."""
    dataset.add("a", PIXELS)
    dataset.add("later", PIXELS, transform=UTM @ Affine.translation(100, 0) @ Affine.rotation(10))  # the same ground
    dataset.add("far", PIXELS, transform=UTM @ Affine.translation(9000, 0))
    dataset.add("plain", PIXELS, crs=None)
    dataset.tag("v1")
    rows = [("a", 0, 0, "test", "a/0-0"), ("a", 64, 128, "test", "a/1-2"), ("a", 64, 0, "train", "a/1-0")]
    return dataset.patch_set(OWN, rows)


def found(dataset, patch_set, record):
    return trained_ground(dataset.workspace, "houses", record, patch_set, held_out(patch_set))


def test_own_patch_set_holds_its_test_windows_back(dataset, tested):
    assert found(dataset, tested, run(OWN)) == Trained()


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("place", "seen"),
    [
        (("a", 64 + SIZE - 1, 128), {1}),
        (("a", 64 + SIZE, 128), set()),  # beside it
        (("a", 20, 100), set()),
        (("far", 0, 0), set()),
        (("plain", 0, 0), set()),
        (("later", 40, 40), {1}),  # turned by 10° around column 100: about row 46, column 132 of a
        (("later", 150, 20), set()),
    ],
)
def test_windows_that_another_patch_set_taught_are_found_on_the_ground(dataset, tested, split, place, seen):
    dataset.patch_set(OTHER, [(*place, split, "x")])
    checked = found(dataset, tested, run(OTHER))
    assert checked.windows == seen
    assert bool(checked.warnings) == bool(seen)


def test_windows_that_taught_nobody_are_no_leak(dataset, tested):
    dataset.patch_set(OTHER, [("a", 0, 0, "test", "x")])
    assert found(dataset, tested, run(OTHER)) == Trained()


def test_what_the_starting_model_was_trained_on_counts_too(dataset, tested, monkeypatch):
    dataset.patch_set(OTHER, [("a", 64, 0, "train", "x")])
    dataset.patch_set(OLDEST, [("a", 5, 5, "train", "x")])
    runs = {"parent": run(OTHER, "grandparent", "parent"), "grandparent": run(OLDEST, "", "grandparent")}
    monkeypatch.setattr(leaks, "get_run", lambda workspace, name: runs[name])
    checked = found(dataset, tested, run(OWN, "parent"))
    assert checked.windows == {0}
    assert "1 of 2 test windows were left out" in checked.warnings[0]


def test_what_cannot_be_checked_is_said(dataset, tested, monkeypatch):
    def no_run(workspace, name):
        raise NotFoundError(name)

    monkeypatch.setattr(leaks, "get_run", no_run)
    checked = found(dataset, tested, run("d" * 12, "file:abc"))
    assert len(checked.warnings) == 2
    assert "What file:abc, which the model started from, was trained on is not known" in checked.warnings[0]
    assert "could not be checked: No patch set 'dddddddddddd'" in checked.warnings[1]


def test_same_name_is_the_same_scene_where_the_dataset_is_gone(dataset):
    rows = [("a", 0, 0, "test", "a/0-0"), ("a", 64, 128, "test", "a/1-2")]
    patch_set = dataset.patch_set(OWN, rows, version="v7")
    dataset.patch_set(OTHER, [("a", 10, 10, "train", "x"), ("b", 64, 128, "train", "x")], version="v8")
    assert found(dataset, patch_set, run(OTHER)).windows == {0}


def test_windows_left_are_numbered_anew_and_none_left_is_an_error(dataset, tested):
    windows = held_out(tested)
    left = _measurable(tested, windows, Trained({0}))
    assert [(one.number, one.row) for one in left] == [(0, 64)]
    with pytest.raises(BadDataError, match="trained on the ground of all 2 test windows"):
        _measurable(tested, windows, Trained({0, 1}))
    with pytest.raises(BadDataError, match="has no test windows"):
        _measurable(tested, [], Trained())


def test_threshold_is_looked_for_on_validation_windows_of_one_class_models(dataset):
    rows = [("a", 0, 0, "test", "t"), *(("a", 40, 40 * place, "val", "v") for place in range(5))]
    patch_set = dataset.patch_set(OWN, rows)
    project = ProjectConfig(name="houses", classes=("building",), evaluation={"threshold_windows": 3})
    assert [(one.number, one.split, one.col) for one in _validation(patch_set, project, 7)] == [
        (7, "val", 0), (9, "val", 80), (11, "val", 160),
    ]  # fmt: skip
    without = project.model_copy(update={"evaluation": project.evaluation.model_copy(update={"threshold_windows": 0})})
    assert _validation(patch_set, without, 7) == []
