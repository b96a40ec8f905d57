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


def step_down_max(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return step-down maxT adjusted p-values from the permutations themselves.

    Controls the same error as Holm, but needs no finer p-value than the error rate itself, so that a handful of
    scenes can still be permuted as wholes: the largest distance over the features is compared with its own null.

    Args:
        distances: (P, F), row 0 observed. Distances of all features are in the same unit, so that none dominates.

    Source: Westfall & Young, "Resampling-based multiple testing" (1993), algorithm 4.1 (free step-down maxT).
    """
    order = np.argsort(-distances[0], kind="stable")
    ordered = distances[:, order]
    largest_from_here = np.maximum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
    raw: NDArray[np.float64] = (largest_from_here >= ordered[0] - TIE_TOLERANCE).mean(axis=0)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.maximum.accumulate(raw)
    return adjusted
