"""Many features, one error rate: adjusted p-values that control the chance of any false alarm in a night."""

import numpy as np
from numpy.typing import NDArray

from satseg.drift.permutation import TIE_TOLERANCE


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values, valid whatever the dependence between the features.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return adjusted p-values that control the false discovery rate under positive dependence.

    On a night without drift every discovery is false, so the chance of an alarm is kept as well; on a night with drift
    more features are named than by Holm.

    Source: Benjamini & Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * p_values.size / np.arange(1, p_values.size + 1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def standardised(statistics: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (P, F) statistics in units of their own spread over the permutations, so that none dominates a maximum.

    Mean and spread are taken over all permutations, the observed one among them: they are the same whichever way of
    dealing was the real one, so p-values stay exact.
    """
    spread = statistics.std(axis=0, dtype=np.float64)
    centred = statistics - statistics.mean(axis=0, dtype=np.float64)
    found: NDArray[np.float64] = centred / np.where(spread > 0, spread, 1.0)
    return found


def ranked(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of (P,) statistics the share that is at least as large: its own p-value."""
    ordered = np.sort(statistics)
    below = np.searchsorted(ordered, statistics - TIE_TOLERANCE, side="left")
    share: NDArray[np.float64] = 1.0 - below / statistics.size
    return share


def smallest_of(p_values: NDArray[np.float64], families: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for having looked at several families, whatever the dependence between these.

    Args:
        p_values: (T,) p-values of tests, each adjusted within its family.
        families: (P, M) p-value of each family under each way of dealing (`ranked`), row 0 observed.

    Source: Westfall & Young (1993), single-step minP.
    """
    least = np.sort(families.min(axis=1))
    reached: NDArray[np.float64] = np.searchsorted(least, p_values + TIE_TOLERANCE, side="right") / least.size
    return reached


def step_down_max(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return step-down maxT adjusted p-values from the permutations themselves.

    Controls the same error as Holm, but needs no finer p-value than the error rate itself, so that a handful of
    scenes can still be permuted as wholes: the largest distance over the features is compared with its own null.

    Args:
        distances: (P, F), row 0 observed, `standardised`.

    Source: Westfall & Young, "Resampling-based multiple testing" (1993), algorithm 4.1 (free step-down maxT).
    """
    order = np.argsort(-distances[0], kind="stable")
    ordered = distances[:, order]
    largest_from_here = np.maximum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
    raw: NDArray[np.float64] = (largest_from_here >= ordered[0] - TIE_TOLERANCE).mean(axis=0)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.maximum.accumulate(raw)
    return adjusted
