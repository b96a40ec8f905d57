"""Scores against slow, obvious NumPy references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from satseg.errors import BadDataError
from satseg.evaluation.scores import class_scores, confusion, mean_scores, window_iou

CLASSES = 3
masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES)),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES)),
        hnp.arrays(np.bool_, shape),
    )
)


def slow_scores(labels, predicted, valid, class_id):
    hit = false = missed = 0
    for label, guess, counts in zip(labels.ravel(), predicted.ravel(), valid.ravel(), strict=True):
        if not counts:
            continue
        hit += label == class_id and guess == class_id
        false += label != class_id and guess == class_id
        missed += label == class_id and guess != class_id
    nothing = 1.0 if hit + false + missed == 0 else 0.0
    return {
        "iou": hit / (hit + false + missed) if hit + false + missed else nothing,
        "dice": 2 * hit / (2 * hit + false + missed) if hit + false + missed else nothing,
        "precision": hit / (hit + false) if hit + false else nothing,
        "recall": hit / (hit + missed) if hit + missed else nothing,
        "iou_all_positive": (hit + missed) / valid.sum() if valid.any() else 0.0,
    }


@given(masks)
def test_class_scores_equal_a_loop_over_pixels(arrays):
    labels, predicted, valid = arrays
    matrix = confusion(labels, predicted, CLASSES, valid)
    assert matrix.sum() == valid.sum()
    for class_id in range(1, CLASSES + 1):
        scores = class_scores(matrix, class_id)
        for name, value in slow_scores(labels, predicted, valid, class_id).items():
            assert getattr(scores, name) == pytest.approx(value), name


@given(masks)
def test_mean_is_over_classes_that_occur(arrays):
    labels, predicted, valid = arrays
    occurring = sorted(({*labels[valid]} | {*predicted[valid]}) - {0})
    mean = mean_scores(confusion(labels, predicted, CLASSES, valid))
    expected = [slow_scores(labels, predicted, valid, class_id)["iou"] for class_id in occurring]
    assert mean.iou == pytest.approx(np.mean(expected) if expected else 1.0)
    assert mean.labelled_pixels == np.count_nonzero(labels[valid])


@settings(max_examples=30)
@given(st.lists(masks, min_size=1, max_size=4))
def test_summed_windows_equal_one_large_window(windows):
    summed = sum(confusion(labels, predicted, CLASSES, valid) for labels, predicted, valid in windows)
    joined = [np.concatenate([window[part].ravel() for window in windows]) for part in range(3)]
    assert (summed == confusion(joined[0], joined[1], CLASSES, joined[2])).all()


def test_scores_of_windows_are_summed_not_averaged():
    full, empty = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    one_pixel = empty.copy()
    one_pixel[0, 0] = 1
    # window IoUs are 1 and 0, their mean 0.5; of 17 labelled pixels 16 are found
    total = confusion(full, full, 1) + confusion(one_pixel, empty, 1)
    assert class_scores(total, 1).iou == pytest.approx(16 / 17)


def test_the_map_positive_everywhere_has_the_labelled_fraction_as_iou():
    labels = np.zeros((10, 10), np.uint8)
    labels[:3] = 1
    scores = class_scores(confusion(labels, np.ones_like(labels), 1), 1)
    assert scores.iou == scores.iou_all_positive == pytest.approx(0.3)


def test_nodata_pixels_do_not_count():
    labels = np.array([[1, 0, 255]], np.uint8)
    scores = class_scores(confusion(labels, np.array([[1, 1, 1]], np.uint8), 1, labels < 255), 1)
    assert (scores.pixels, scores.iou, scores.recall) == (2, 0.5, 1.0)


def test_absent_class_found_nowhere_is_right_and_found_somewhere_is_wrong():
    empty, spot = np.zeros((2, 2), np.uint8), np.array([[1, 0], [0, 0]], np.uint8)
    assert class_scores(confusion(empty, empty, 1), 1).iou == 1.0
    assert class_scores(confusion(empty, spot, 1), 1).iou == 0.0


def test_unknown_class_id_is_named():
    with pytest.raises(BadDataError, match=r"Class id 4 is larger than the 3 classes"):
        confusion(np.full((2, 2), 4, np.uint8), np.zeros((2, 2), np.uint8), CLASSES)


def test_shapes_must_agree():
    with pytest.raises(BadDataError, match="differ in shape"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), CLASSES)


def test_window_iou_counts_a_wrong_class_as_wrong():
    labels, predicted = np.array([[1, 2, 0, 0]], np.uint8), np.array([[1, 1, 0, 2]], np.uint8)
    assert window_iou(confusion(labels, predicted, 2)) == pytest.approx(1 / 3)
