from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from satseg.drift.permutation import GRID, deal, ks_distances, ks_on_grid, p_values, smallest_p_value


@pytest.mark.parametrize("decimals", [None, 1], ids=["continuous", "many ties"])
def test_ks_distance_equals_scipy_for_every_assignment(decimals: int | None) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(85, 3)).astype(np.float32)
    if decimals is not None:
        values = values.round(decimals)
    units = np.repeat(np.arange(10), rng.permutation(np.arange(4, 14)))
    night = deal(np.arange(10) >= 6, 20, rng).night
    expected = [
        [ks_2samp(values[dealt[units], f], values[~dealt[units], f]).statistic for f in range(3)] for dealt in night
    ]
    np.testing.assert_allclose(ks_distances(values, units, night), expected, atol=1e-12)


def test_ks_distance_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    values, units = rng.normal(size=(60, 2)), np.repeat(np.arange(12), 5)
    night = deal(np.arange(12) >= 8, 50, rng).night
    whole = ks_distances(values, units, night)
    monkeypatch.setattr("satseg.drift.permutation.CHUNK_ELEMENTS", 130)
    np.testing.assert_array_equal(ks_distances(values, units, night), whole)


def test_few_units_are_dealt_in_every_distinct_way_once() -> None:
    observed = np.array([False, True, False, False, True, False])
    dealt = deal(observed, 999, np.random.default_rng(0))
    assert dealt.exact
    assert dealt.smallest_p == 1 / 15
    assert (dealt.night[0] == observed).all()
    assert {tuple(np.flatnonzero(row)) for row in dealt.night} == set(combinations(range(6), 2))
    assert len(dealt.night) == 15


def test_many_units_are_dealt_at_random_with_the_same_numbers_on_each_side() -> None:
    observed = np.arange(40) < 9
    dealt = deal(observed, 200, np.random.default_rng(0))
    assert not dealt.exact
    assert dealt.smallest_p == 1 / 201
    assert (dealt.night[0] == observed).all()
    assert (dealt.night.sum(axis=1) == 9).all()
    assert len(dealt.night) == 201


def test_no_way_of_dealing_is_drawn_twice_even_when_nearly_all_are_drawn() -> None:
    observed = np.arange(9) < 3  # 84 ways
    dealt = deal(observed, 80, np.random.default_rng(0))
    assert not dealt.exact
    assert (dealt.night[0] == observed).all()
    assert len(np.unique(dealt.night, axis=0)) == len(dealt.night) == 81


def test_equal_sides_halve_the_resolution_because_swapping_them_changes_nothing() -> None:
    assert smallest_p_value(4, 2, 999) == 2 / 6
    assert smallest_p_value(2, 1, 999) == 1.0
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, (20, 1)), rng.normal(50, 1, (20, 1))])
    units = np.repeat(np.arange(4), 10)
    distances = ks_distances(values, units, deal(np.arange(4) >= 2, 999, rng).night)
    assert p_values(distances)[0] == pytest.approx(2 / 6)


def test_a_side_without_units_has_no_resolution() -> None:
    assert smallest_p_value(5, 0, 999) == 1.0
    assert smallest_p_value(5, 5, 999) == 1.0


def test_p_value_is_the_share_of_assignments_at_least_as_far_apart() -> None:
    distances = np.array([[0.5, 0.2], [0.5, 0.9], [0.4, 0.9], [0.6, 0.1]])
    np.testing.assert_allclose(p_values(distances), [3 / 4, 3 / 4])


def test_block_permutation_keeps_its_rate_where_the_patchwise_test_alarms() -> None:
    """Quiet nights whose patches resemble their block: the rate holds; the usual recipe alarms in most of them."""
    rng = np.random.default_rng(3)
    blocks, patches, nights = 24, 16, 150
    units = np.repeat(np.arange(blocks), patches)
    observed = np.arange(blocks) >= 16
    p_block, p_patch = np.empty(nights), np.empty(nights)
    for night in range(nights):
        values = rng.normal(size=blocks)[units] + 0.3 * rng.normal(size=units.size)
        distances = ks_distances(values[:, None], units, deal(observed, 199, rng).night)
        p_block[night] = p_values(distances)[0]
        p_patch[night] = ks_2samp(values[observed[units]], values[~observed[units]]).pvalue
    for level in (0.05, 0.2, 0.5):
        within = 3 * np.sqrt(level * (1 - level) / nights)
        assert abs((p_block <= level).mean() - level) <= within
    assert (p_patch <= 0.05).mean() > 0.6


@pytest.mark.parametrize(("patches", "decimals"), [(60, None), (60, 1), (4000, None), (4000, 1)])
def test_the_grid_gives_the_distances_up_to_its_step(patches: int, decimals: int | None) -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(patches, 3)).astype(np.float32)
    if decimals is not None:
        values = values.round(decimals)
    units = np.arange(patches) % 12
    night = deal(np.arange(12) >= 9, 50, rng).night
    exact, fast = ks_distances(values, units, night), ks_on_grid(values, units, night)
    step = 0 if patches <= GRID else patches / GRID / (patches / 4)
    assert (fast <= exact + 1e-6).all()
    assert (fast >= exact - step - 1e-6).all()
