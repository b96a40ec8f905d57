import numpy as np
import pytest
from scipy.stats import false_discovery_control

from satseg.drift.multiplicity import (
    benjamini_hochberg,
    holm,
    ranked,
    smallest_of,
    standardised,
    step_down_max,
)


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


@pytest.mark.parametrize("seed", range(3))
def test_benjamini_hochberg_equals_scipy(seed: int) -> None:
    p_values = np.random.default_rng(seed).random(12) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values))


def test_ranked_is_the_share_at_least_as_large() -> None:
    values = np.array([3.0, 1.0, 3.0, 2.0])
    np.testing.assert_allclose(ranked(values), [(values >= value).mean() for value in values])


def test_a_quiet_feature_counts_as_much_as_a_wild_one_after_standardising() -> None:
    rng = np.random.default_rng(0)
    statistics = np.column_stack([rng.normal(5, 4, 200), rng.normal(0.1, 0.01, 200), np.full(200, 2.0)])
    statistics[0] = [6, 0.2, 2.0]  # ten deviations out, in a feature a hundred times smaller
    assert step_down_max(statistics)[1] > 0.5
    assert step_down_max(standardised(statistics))[1] == 1 / 200


def test_the_smaller_of_two_families_keeps_its_level() -> None:
    """Two looks at pure chance: the smaller p-value alone alarms twice as often as asked, adjusted it does not."""
    rng = np.random.default_rng(0)
    naive, adjusted = [], []
    for _ in range(400):
        families = np.column_stack([ranked(rng.normal(size=200)), ranked(rng.normal(size=200))])
        naive.append(families[0].min())
        adjusted.append(smallest_of(families[0], families).min())
    assert np.mean(np.array(naive) <= 0.1) > 0.15
    assert abs(np.mean(np.array(adjusted) <= 0.1) - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 400)
