import numpy as np
import pytest

from satseg.drift.multiplicity import holm, step_down_max


def test_holm_equals_the_computation_by_hand() -> None:
    # sorted: 0.005*4 = 0.02, 0.01*3 = 0.03, 0.03*2 = 0.06, 0.04*1 = 0.04 raised to 0.06
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one() -> None:
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])


def test_holm_of_one_feature_changes_nothing() -> None:
    np.testing.assert_allclose(holm(np.array([0.04])), [0.04])


def slow_step_down(distances: np.ndarray) -> np.ndarray:
    order = np.argsort(-distances[0])
    adjusted, before = np.empty(len(order)), 0.0
    for place, feature in enumerate(order):
        remaining = order[place:]
        hits = [max(row[remaining]) >= distances[0][feature] for row in distances]
        before = max(before, float(np.mean(hits)))
        adjusted[feature] = before
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_step_down_equals_the_algorithm_written_out(seed: int) -> None:
    distances = np.random.default_rng(seed).random((40, 6))
    np.testing.assert_allclose(step_down_max(distances), slow_step_down(distances))


def test_step_down_reaches_the_smallest_p_value_whatever_the_number_of_features() -> None:
    distances = np.random.default_rng(0).random((30, 12)) * 0.5
    distances[0] = 0.9
    np.testing.assert_allclose(step_down_max(distances), 1 / 30)
