"""Scores against slow, obvious NumPy references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from satseg.errors import BadDataError
from satseg.evaluation.scores import class_scores, confusion, mean_scores

CLASSES = 3
masks = st.integers(1, 60).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.uint8, size, elements=st.integers(0, CLASSES)),
        hnp.arrays(np.uint8, size, elements=st.integers(0, CLASSES)),
        hnp.arrays(np.int32, size, elements=st.integers(0, 3)),
    )
)


def whole(labels, predicted, classes=CLASSES):
    labels, predicted = np.asarray(labels, np.uint8).ravel(), np.asarray(predicted, np.uint8).ravel()
    return confusion(labels, predicted, classes, np.zeros(labels.size, np.int32), 1)[0]


def slow_scores(labels, predicted, class_id):
    hit = false = missed = 0
    for label, guess in zip(labels, predicted, strict=True):
        hit += label == class_id and guess == class_id
        false += label != class_id and guess == class_id
        missed += label == class_id and guess != class_id
    nothing = 1.0 if hit + false + missed == 0 else 0.0
    return {
        "iou": hit / (hit + false + missed) if hit + false + missed else nothing,
        "dice": 2 * hit / (2 * hit + false + missed) if hit + false + missed else nothing,
        "precision": hit / (hit + false) if hit + false else nothing,
        "recall": hit / (hit + missed) if hit + missed else nothing,
        "iou_all_positive": (hit + missed) / len(labels),
        "labelled_pixels": hit + missed,
        "predicted_pixels": hit + false,
    }


@given(masks)
def test_class_scores_equal_a_loop_over_pixels(arrays):
    labels, predicted, _ = arrays
    matrix = whole(labels, predicted)
    assert matrix.sum() == len(labels)
    for class_id in range(1, CLASSES + 1):
        scores = class_scores(matrix, class_id)
        for name, value in slow_scores(labels, predicted, class_id).items():
            assert getattr(scores, name) == pytest.approx(value), name


@given(masks)
def test_mean_is_over_classes_that_occur(arrays):
    labels, predicted, _ = arrays
    occurring = sorted(({*labels} | {*predicted}) - {0})
    mean = mean_scores(whole(labels, predicted))
    expected = [slow_scores(labels, predicted, class_id)["iou"] for class_id in occurring]
    assert mean.iou == pytest.approx(np.mean(expected) if expected else 1.0)
    assert mean.labelled_pixels == np.count_nonzero(labels)


@settings(max_examples=40)
@given(masks)
def test_groups_are_counted_apart_and_add_up(arrays):
    labels, predicted, groups = arrays
    matrices = confusion(labels, predicted, CLASSES, groups, 4)
    for group in range(4):
        assert (matrices[group] == whole(labels[groups == group], predicted[groups == group])).all()
    assert (matrices.sum(axis=0) == whole(labels, predicted)).all()


def test_the_map_positive_everywhere_has_the_labelled_fraction_as_iou():
    labels = np.zeros((10, 10), np.uint8)
    labels[:3] = 1
    scores = class_scores(whole(labels, np.ones_like(labels), 1), 1)
    assert scores.iou == scores.iou_all_positive == pytest.approx(0.3)


def test_absent_class_found_nowhere_is_right_and_found_somewhere_is_wrong():
    empty, spot = np.zeros((2, 2), np.uint8), np.array([[1, 0], [0, 0]], np.uint8)
    assert class_scores(whole(empty, empty, 1), 1).iou == 1.0
    assert class_scores(whole(empty, spot, 1), 1).iou == 0.0


def test_unknown_class_id_is_named():
    with pytest.raises(BadDataError, match=r"Class id 4 is larger than the 3 classes"):
        whole(np.full((2, 2), 4), np.zeros((2, 2)))
