import numpy as np
import pytest

from satseg.errors import ConfigurationError
from satseg.models.backbones import check_backbone
from satseg.models.confusion import class_metrics, mean_dice, mean_iou, mean_metrics
from satseg.models.draws import draw_order
from satseg.models.threads import threads_per_run


def test_scores_are_averaged_over_the_classes_that_occur():
    confusion = np.array([[50, 5, 0, 0], [10, 30, 0, 0], [0, 4, 16, 0], [0, 0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((30 / 49 + 16 / 20) / 2)
    assert mean_dice(confusion) == pytest.approx((60 / 79 + 32 / 36) / 2)


def test_metrics_of_each_class_equal_numpy_on_the_pixels():
    rng = np.random.default_rng(3)
    truth, predicted = rng.integers(0, 4, (2, 1000))
    predicted[predicted == 3] = 0  # a class that is never predicted
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    expected = []
    for label in (1, 2, 3):
        wanted, found = truth == label, predicted == label
        hit = (wanted & found).sum()
        expected.append(
            (
                hit / (wanted | found).sum(),
                2 * hit / (wanted.sum() + found.sum()),
                hit / found.sum() if found.any() else 0.0,
                hit / wanted.sum(),
            )
        )
    assert np.array(class_metrics(confusion)) == pytest.approx(np.array(expected), abs=1e-12)
    assert np.array(mean_metrics(confusion)) == pytest.approx(np.mean(expected, axis=0), abs=1e-12)


def test_trainings_that_run_together_share_the_processors(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    assert [threads_per_run(concurrent) for concurrent in (0, 1, 2, 3, 8, 20)] == [8, 8, 4, 2, 1, 1]


def test_scores_of_nothing_are_zero():
    assert mean_iou(np.array([[9, 0], [0, 0]])) == 0.0
    assert mean_dice(np.array([[9, 0], [0, 0]])) == 0.0


def test_unknown_backbone_names_the_nearest():
    check_backbone("efficientnetb0")
    with pytest.raises(ConfigurationError, match=r"'efficientnet-b0'; did you mean 'efficientnetb0'\?.*resnet18"):
        check_backbone("efficientnet-b0")


def test_each_round_draws_every_window_as_often_as_its_weight():
    weights = np.array([1, 6, 0, 2])
    rounds = draw_order(weights, 0, 18, seed=3).reshape(2, 9)
    for order in rounds:
        assert np.bincount(order, minlength=4).tolist() == weights.tolist()
    assert rounds[0].tolist() != rounds[1].tolist()


def test_any_part_of_the_drawing_sequence_can_be_computed_alone():
    weights = np.array([2, 1, 3])
    whole = draw_order(weights, 0, 40, seed=1)
    assert draw_order(weights, 11, 17, seed=1).tolist() == whole[11:28].tolist()
    assert draw_order(weights, 0, 40, seed=2).tolist() != whole.tolist()
