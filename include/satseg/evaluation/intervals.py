"""Confidence intervals by resampling spatial blocks: pixels of one block are not independent, blocks nearly are.

The interval is the studentised bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 12.5)
of a function of summed counts. Each replicate draws whole blocks with replacement; its standard error comes from the
infinitesimal jackknife (Jaeckel 1972), the exact linearisation for ratios such as IoU. Values between 0 and 1 are
studentised on the logit scale, so that no interval leaves [0, 1] and a skewed sample is not cut off.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from satseg.stages import Interval

Counts = NDArray[np.float64]
Statistic = Callable[[Counts], NDArray[np.float64]]
Pairs = NDArray[np.intp]

ENOUGH_BLOCKS = 30
REPETITIONS = 2000
_STEP = 1e-6  # of all counts: of the numerical derivative
_EDGE = 1e-9  # nearer to 0 or 1 the logit says nothing
_AT_A_TIME = 4_000_000  # block weights held in memory
TP, FP, FN, TN = range(4)


def iou(totals: Counts) -> NDArray[np.float64]:
    """Return TP / (TP + FP + FN) of totals (..., 4) = TP, FP, FN, TN; NaN where there is nothing to find or found."""
    return _ratio(totals[..., TP], totals[..., TP] + totals[..., FP] + totals[..., FN])


def dice(totals: Counts) -> NDArray[np.float64]:
    """Return 2 TP / (2 TP + FP + FN) of totals (..., 4); the F1 score where the counts are objects."""
    return _ratio(2 * totals[..., TP], 2 * totals[..., TP] + totals[..., FP] + totals[..., FN])


def precision(totals: Counts) -> NDArray[np.float64]:
    """Return TP / (TP + FP) of totals (..., 4)."""
    return _ratio(totals[..., TP], totals[..., TP] + totals[..., FP])


def recall(totals: Counts) -> NDArray[np.float64]:
    """Return TP / (TP + FN) of totals (..., 4)."""
    return _ratio(totals[..., TP], totals[..., TP] + totals[..., FN])


STATISTICS: dict[str, Statistic] = {"iou": iou, "dice": dice, "precision": precision, "recall": recall}


def class_mean(statistic: Statistic) -> Statistic:
    """Return the statistic's mean over classes, for totals (..., classes, 4); classes that occur nowhere are left out.

    "Occur" means labelled or predicted, as in `scores.mean_scores`; a class that occurs and has 0/0 counts as 0.
    """

    def mean(totals: Counts) -> NDArray[np.float64]:
        occurs = totals[..., :TN].sum(axis=-1) > 0
        values = np.where(occurs, np.nan_to_num(statistic(totals)), 0.0)
        return _ratio(values.sum(axis=-1), occurs.sum(axis=-1))

    return mean


def block_bootstrap(
    counts: NDArray[np.generic],
    statistic: Statistic,
    *,
    level: float = 0.95,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    unit: bool = True,
    evidence: int | None = None,
    neighbours: Pairs | None = None,
) -> Interval:
    """Return a statistic of summed counts with its interval over blocks.

    Args:
        counts: (blocks, ...) counts of each block, ≥ 0.
        statistic: from totals (m, ...) to (m,); the same when all counts are doubled. NaN means undefined.
        level: how often the interval shall hold the truth.
        repetitions: bootstrap replicates.
        seed: of the draws; equal input gives equal output.
        unit: the statistic lies between 0 and 1; False for differences.
        evidence: blocks that say something; default: those of which the statistic is defined.
        neighbours: (pairs, 2) positions of blocks that touch. What they have in common widens the interval.

    Returns:
        The interval; value, low and high are None when the statistic is undefined. Blocks that say nothing stay in
        the sample, because the next sample would have such blocks too.
    """
    whole = np.asarray(counts, dtype=np.float64)
    if not len(whole) or not np.isfinite(value := float(statistic(whole.sum(axis=0, keepdims=True))[0])):
        return Interval(value=None, low=None, high=None, level=level, blocks=0, warning="nothing to measure")
    blocks = int(np.isfinite(statistic(whole)).sum()) if evidence is None else evidence
    if unit and not _EDGE < value < 1 - _EDGE:
        return _at_the_edge(value, blocks, level)
    problem = _Problem(whole.reshape(len(whole), -1), whole.shape[1:], statistic, unit)
    if blocks > 1:
        low, high = _studentised(problem, value, level, repetitions, seed, neighbours)
    else:
        low, high = _ends(unit)
    return Interval(value=value, low=low, high=high, level=level, blocks=blocks, warning=_warning(blocks))


def paired_difference(
    counts_a: NDArray[np.generic],
    counts_b: NDArray[np.generic],
    statistic: Statistic,
    *,
    level: float = 0.95,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    neighbours: Pairs | None = None,
) -> Interval:
    """Return statistic(a) - statistic(b) with its interval; both are resampled together, block by block.

    Args:
        counts_a: (blocks, ...) counts of the first model.
        counts_b: (blocks, ...) counts of the second model on the same blocks in the same order.
        statistic: as in `block_bootstrap`.
        level: how often the interval shall hold the truth.
        repetitions: bootstrap replicates.
        seed: of the draws.
        neighbours: as in `block_bootstrap`.

    Raises:
        ValueError: the arrays differ in shape.
    """
    if np.shape(counts_a) != np.shape(counts_b):
        raise ValueError(f"counts of shape {np.shape(counts_a)} and {np.shape(counts_b)} are not of the same blocks")

    def difference(totals: Counts) -> NDArray[np.float64]:
        return statistic(totals[:, 0]) - statistic(totals[:, 1])

    both = np.stack([counts_a, counts_b], axis=1).astype(np.float64)
    says = np.isfinite(statistic(both[:, 0])) | np.isfinite(statistic(both[:, 1]))
    return block_bootstrap(
        both,
        difference,
        level=level,
        repetitions=repetitions,
        seed=seed,
        unit=False,
        evidence=int(says.sum()),
        neighbours=neighbours,
    )


class _Problem(NamedTuple):
    """Counts (blocks, entries) and a function of their sums."""

    counts: Counts
    shape: tuple[int, ...]
    statistic: Statistic
    unit: bool

    def statistic_of(self, totals: Counts) -> NDArray[np.float64]:
        """Return (m,) for totals (m, entries)."""
        return self.statistic(totals.reshape(len(totals), *self.shape))

    def influence(self, totals: Counts) -> NDArray[np.float64]:
        """Return how much each block adds to the statistic at each of m totals, (m, blocks)."""
        values, step = self.statistic_of(totals), _STEP * totals.sum(axis=1)
        gradient = np.zeros_like(totals)
        for entry in range(totals.shape[1]):
            moved = totals.copy()
            moved[:, entry] += step
            gradient[:, entry] = (self.statistic_of(moved) - values) / step
        # an entry that is 0 in a replicate is 0 in each of its blocks
        gradient = np.where((totals > 0) & np.isfinite(gradient), gradient, 0.0)
        found: NDArray[np.float64] = gradient @ self.counts.T
        return found

    def transformed(self, totals: Counts, weights: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the statistic and its standard error, on the logit scale for values between 0 and 1, (m,) each."""
        values, influence = self.statistic_of(totals), self.influence(totals)
        blocks = weights.sum(axis=1)
        mean = (weights * influence).sum(axis=1) / blocks
        squares = (weights * (influence - mean[:, None]) ** 2).sum(axis=1)
        error = np.sqrt(squares * blocks / (blocks - 1))
        if self.unit:
            inside = values.clip(_EDGE, 1 - _EDGE)
            return logit(inside), error / (inside * (1 - inside))
        return values, error


def _studentised(  # noqa: PLR0917 - the arguments of a public function
    problem: _Problem, value: float, level: float, repetitions: int, seed: int, neighbours: Pairs | None
) -> tuple[float | None, float | None]:
    everything = np.ones((1, len(problem.counts)))
    centre, error = (float(part[0]) for part in problem.transformed(problem.counts.sum(axis=0)[None], everything))
    if error < _STEP:
        return value, value
    parts = [_pivots(problem, weights, centre) for weights in _draws(len(problem.counts), repetitions, seed)]
    pivots = np.concatenate(parts)
    if len(pivots) < repetitions / 2:
        return _ends(problem.unit)
    error *= _widening(problem, neighbours)
    upper, lower = np.quantile(pivots, [(1 + level) / 2, (1 - level) / 2])
    low, high = centre - float(upper) * error, centre - float(lower) * error
    return (float(expit(low)), float(expit(high))) if problem.unit else (low, high)


def _widening(problem: _Problem, neighbours: Pairs | None) -> float:
    """Return by how much touching blocks that err alike raise the standard error, at least 1.

    The covariances of neighbours are added to the variance (Conley 1999, "GMM estimation with cross sectional
    dependence"); that they seem to err the other way is chance.
    """
    if neighbours is None or not len(neighbours):
        return 1.0
    influence = problem.influence(problem.counts.sum(axis=0)[None])[0]
    influence = influence - influence.mean()
    own, shared = (influence**2).sum(), 2 * (influence[neighbours[:, 0]] * influence[neighbours[:, 1]]).sum()
    return float(np.sqrt(max(1.0, 1 + shared / own)))


def _draws(blocks: int, repetitions: int, seed: int) -> Iterator[Counts]:
    random = np.random.default_rng(seed)
    at_a_time = max(1, _AT_A_TIME // blocks)
    for start in range(0, repetitions, at_a_time):
        size = min(at_a_time, repetitions - start)
        yield random.multinomial(blocks, np.full(blocks, 1 / blocks), size=size).astype(np.float64)


def _pivots(problem: _Problem, weights: Counts, centre: float) -> NDArray[np.float64]:
    values, errors = problem.transformed(weights @ problem.counts, weights)
    usable = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    pivots: NDArray[np.float64] = (values[usable] - centre) / errors[usable]
    return pivots


def _at_the_edge(value: float, blocks: int, level: float) -> Interval:
    """Return Clopper and Pearson's (1934) interval for 0 or all of `blocks` successes: nothing varies to resample."""
    reach = 1 - ((1 - level) / 2) ** (1 / blocks) if blocks else 1.0
    low, high = (0.0, reach) if value < 0.5 else (1 - reach, 1.0)
    return Interval(value=value, low=low, high=high, level=level, blocks=blocks, warning=_warning(blocks))


def _ends(unit: bool) -> tuple[float | None, float | None]:
    return (0.0, 1.0) if unit else (None, None)


def _warning(blocks: int) -> str | None:
    if blocks >= ENOUGH_BLOCKS:
        return None
    return f"only {blocks} blocks hold evidence; intervals are reliable from {ENOUGH_BLOCKS}"


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return found
