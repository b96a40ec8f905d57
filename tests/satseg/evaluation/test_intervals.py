"""Intervals over spatial blocks hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from satseg.evaluation import intervals
from satseg.evaluation.intervals import block_bootstrap, class_mean, paired_difference
from satseg.evaluation.tally import BlockKey, touching

DRAWS = 400


def block_counts(random, blocks):
    """Blocks (blocks, 4) whose pixels are wrong together; the true IoU of the population is 4 / (4 + 1 + 1)."""
    error, size = random.gamma(2.0, 0.5, (blocks, 2)), random.gamma(2.0, 0.5, blocks)
    rates = np.stack([4 * size, error[:, 0], error[:, 1], np.full(blocks, 10.0)], axis=1)
    return random.poisson(200 * rates)


@pytest.mark.parametrize("blocks", [30, 100])
def test_interval_holds_the_truth_as_often_as_it_says(blocks):
    hits = 0
    for number in range(300):
        found = block_bootstrap(
            block_counts(np.random.default_rng([blocks, number]), blocks), intervals.iou, repetitions=DRAWS, seed=number
        )
        hits += found.low <= 4 / 6 <= found.high
    assert 0.91 <= hits / 300 <= 0.985  # 95% ± 3 standard errors of 300 trials


def test_pixels_taken_as_independent_give_intervals_that_are_far_too_narrow():
    counts = block_counts(np.random.default_rng(1), 30)
    blocks = block_bootstrap(counts, intervals.iou, repetitions=DRAWS)
    totals = counts.sum(axis=0)
    pixels = np.random.default_rng(0).multinomial(totals.sum(), totals / totals.sum(), DRAWS)
    low, high = np.quantile(intervals.iou(pixels.astype(float)), [0.025, 0.975])
    assert high - low < 0.3 * (blocks.high - blocks.low)


def test_linearised_error_is_that_of_the_ratio_formula():
    counts = block_counts(np.random.default_rng(2), 40).astype(float)
    problem = intervals._Problem(counts, (4,), intervals.iou, unit=False)
    _, error = problem.transformed(counts.sum(axis=0)[None], np.ones((1, 40)))
    hit, union = counts[:, 0], counts[:, :3].sum(axis=1)
    residual = hit - hit.sum() / union.sum() * union
    assert error[0] == pytest.approx(np.sqrt(40 / 39 * (residual**2).sum()) / union.sum(), rel=1e-4)


def test_same_seed_same_interval_and_more_certainty_is_wider():
    counts = block_counts(np.random.default_rng(3), 30)
    first, again = (block_bootstrap(counts, intervals.iou, seed=5, repetitions=DRAWS) for _ in range(2))
    assert first == again
    wider = block_bootstrap(counts, intervals.iou, seed=5, repetitions=DRAWS, level=0.99)
    assert wider.low < first.low < first.value < first.high < wider.high


def test_few_blocks_are_named():
    random = np.random.default_rng(4)
    assert block_bootstrap(block_counts(random, 30), intervals.iou, repetitions=DRAWS).warning is None
    few = block_bootstrap(block_counts(random, 10), intervals.iou, repetitions=DRAWS)
    assert "only 10 blocks" in few.warning


def test_empty_blocks_are_no_evidence():
    counts = np.concatenate([block_counts(np.random.default_rng(5), 12), np.tile([0, 0, 0, 500], (40, 1))])
    found = block_bootstrap(counts, intervals.iou, repetitions=DRAWS)
    assert found.blocks == 12
    assert "only 12 blocks" in found.warning


@pytest.mark.parametrize("counts", [np.zeros((0, 4)), np.zeros((5, 4)), np.tile([0, 0, 0, 9], (5, 1))])
def test_nothing_to_measure_is_no_number(counts):
    found = block_bootstrap(counts, intervals.iou)
    assert (found.value, found.low, found.high, found.blocks) == (None, None, None, 0)


@pytest.mark.parametrize(("counts", "value", "low", "high"), [([9, 0, 0, 1], 1, 0.692, 1), ([0, 3, 2, 1], 0, 0, 0.308)])
def test_all_blocks_perfect_is_not_proof_of_perfection(counts, value, low, high):
    found = block_bootstrap(np.tile(counts, (10, 1)), intervals.iou)
    assert (found.value, found.low, found.high) == (pytest.approx(value), pytest.approx(low, abs=1e-3), high) or (
        found.value,
        found.low,
        found.high,
    ) == (value, low, pytest.approx(high, abs=1e-3))


def test_difference_of_a_model_with_itself_is_exactly_nothing():
    counts = block_counts(np.random.default_rng(6), 20)
    found = paired_difference(counts, counts, intervals.iou, repetitions=DRAWS)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_paired_difference_is_narrower_than_two_intervals():
    random = np.random.default_rng(7)
    counts = block_counts(random, 40)
    worse = counts.copy()
    lost = (counts[:, 0] * random.uniform(0.02, 0.06, 40)).astype(int)
    worse[:, 0] -= lost
    worse[:, 2] += lost
    found = paired_difference(counts, worse, intervals.iou, repetitions=DRAWS)
    alone = block_bootstrap(counts, intervals.iou, repetitions=DRAWS)
    assert 0 < found.low < found.value < found.high
    assert found.high - found.low < 0.2 * (alone.high - alone.low)


def test_blocks_of_two_models_must_be_the_same():
    with pytest.raises(ValueError, match="not of the same blocks"):
        paired_difference(np.ones((3, 4)), np.ones((4, 4)), intervals.iou)


def test_mean_over_classes_leaves_out_classes_that_occur_nowhere():
    counts = block_counts(np.random.default_rng(8), 30)
    classes = np.stack([counts, np.tile([0, 0, 0, 50], (30, 1))], axis=1)
    alone = block_bootstrap(counts, intervals.iou, repetitions=DRAWS)
    mean = block_bootstrap(classes, class_mean(intervals.iou), repetitions=DRAWS)
    assert mean.value == pytest.approx(alone.value)
    assert mean.low == pytest.approx(alone.low, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.integers(0, 40)))
def test_any_counts_give_an_interval_around_the_value_or_none(counts):
    for statistic in intervals.STATISTICS.values():
        found = block_bootstrap(counts, statistic, repetitions=99)
        if found.value is not None:
            assert 0 <= found.low <= found.high <= 1
            assert found.blocks <= len(counts)


def test_blocks_that_touch_and_err_alike_widen_the_interval():
    random = np.random.default_rng(9)
    side = 8
    alike = np.kron(random.gamma(2.0, 1.0, (side // 2, side // 2)), np.ones((2, 2)))  # quarters of four blocks
    counts = random.poisson(np.stack([np.full(side**2, 400.0), 100 * alike.ravel()], axis=1))
    counts = np.stack([counts[:, 0], counts[:, 1], 0 * counts[:, 0], 0 * counts[:, 0]], axis=1)
    pairs = touching([BlockKey("s", f"s/{n // side}-{n % side}", True) for n in range(side**2)])
    assert len(pairs) == 2 * side * (side - 1)
    alone, together, shuffled = (
        block_bootstrap(some, intervals.iou, repetitions=DRAWS, neighbours=given)
        for some, given in ((counts, None), (counts, pairs), (random.permutation(counts), pairs))
    )
    assert together.value == alone.value
    assert together.high - together.low > 1.3 * (alone.high - alone.low)
    assert shuffled.high - shuffled.low < 1.2 * (alone.high - alone.low)


def test_blocks_of_two_scenes_never_touch():
    keys = [BlockKey("a", "a/0-9", True), BlockKey("a", "a/0-10", True), BlockKey("b", "b/1-9", True)]
    assert touching(keys).tolist() == [[0, 1]]
    assert touching([BlockKey("a", "named otherwise", True)]).shape == (0, 2)
