"""Two-sample Kolmogorov-Smirnov distances and their null distribution when whole units (scenes or blocks) are permuted.

Patches of one block resemble each other, so they are not independent draws; permuting patches promises far more
information than there is. Permuting whole units keeps their inner dependence in every permutation, and the p-value is
exact under the null hypothesis that units of the night and of the reference are exchangeable
(Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 3rd ed., sections 2.3 and 9.1).
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

CHUNK_ELEMENTS = 50_000  # so that a chunk stays in the processor cache
TIE_TOLERANCE = 1e-9
GRID = 128


@dataclass(frozen=True)
class Assignments:
    """Ways of dealing the units to night and reference; row 0 is how they really are.

    Attributes:
        night: (P, U) bool, True where a unit is dealt to the night.
        smallest_p: The smallest p-value these assignments can give.
        exact: Whether every distinct assignment is there once.
    """

    night: NDArray[np.bool_]
    smallest_p: float
    exact: bool


def smallest_p_value(units: int, night_units: int, permutations: int) -> float:
    """Return the smallest p-value reachable with `night_units` of `units` and so many random permutations.

    With equally many units on both sides, swapping the sides gives the same distance: each value comes twice.
    """
    if not 0 < night_units < units:
        return 1.0
    distinct = math.comb(units, night_units)
    if distinct <= permutations + 1:
        return (2 if 2 * night_units == units else 1) / distinct
    return 1 / (permutations + 1)


def deal(observed: NDArray[np.bool_], permutations: int, rng: np.random.Generator) -> Assignments:
    """Deal the units anew: all distinct ways where they are few, otherwise as many random ones, each different.

    Args:
        observed: (U,) bool, True for units of the night.
        permutations: Number of random permutations.
        rng: Source of the random permutations.
    """
    units, night_units = observed.size, int(observed.sum())
    smallest = smallest_p_value(units, night_units, permutations)
    if math.comb(units, night_units) <= permutations + 1:
        rows = np.zeros((math.comb(units, night_units), units), bool)
        for row, chosen in enumerate(combinations(range(units), night_units)):
            rows[row, list(chosen)] = True
        others = rows[(rows != observed).any(axis=1)]
        return Assignments(np.vstack([observed[None], others]), smallest, exact=True)
    rows = observed[None]
    while len(rows) <= permutations:
        drawn = rng.permuted(np.tile(observed, (permutations, 1)), axis=1)
        rows = _distinct(np.vstack([rows, drawn]))[: permutations + 1]
    return Assignments(rows, smallest, exact=False)


def _distinct(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop repeated rows and keep the order.

    Without it, how the units really are would be dealt again by chance and raise every p-value; drawing without
    replacement is exact too (Phipson & Smyth, "Permutation p-values should never be zero", 2010).
    """
    first = np.unique(np.packbits(rows, axis=1), axis=0, return_index=True)[1]
    return rows[np.sort(first)]


def ks_distances(
    values: NDArray[np.floating], units: NDArray[np.intp], night: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the Kolmogorov-Smirnov distance of each feature under each assignment of units.

    Args:
        values: (N, F) features of patches.
        units: (N,) unit of each patch, 0..U-1; each unit has a patch.
        night: (P, U) bool.

    Returns:
        (P, F) distances in 0..1, equal to `scipy.stats.ks_2samp(...).statistic`.
    """
    count, features = values.shape
    distances = np.empty((night.shape[0], features))
    step = max(1, CHUNK_ELEMENTS // max(count, 1))
    for feature in range(features):
        order = np.argsort(values[:, feature], kind="stable")
        ordered, unit_of = values[order, feature], units[order]
        # the distribution functions may be compared only after the last of equal values
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        below = last + 1.0
        for start in range(0, night.shape[0], step):
            seen = np.cumsum(np.take(night[start : start + step], unit_of, axis=1), axis=1, dtype=np.int32)
            on_night = seen[:, -1:].astype(np.float64)
            # night's share minus the reference's share, (below - seen) / (count - on_night), in one factor and one term
            gap = seen[:, last] * (1 / on_night + 1 / (count - on_night))
            gap -= below / (count - on_night)
            distances[start : start + step, feature] = np.maximum(gap.max(axis=1), -gap.min(axis=1))
    return distances


def ks_on_grid(values: NDArray[np.floating], units: NDArray[np.intp], night: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return Kolmogorov-Smirnov distances looked at in 128 places of each feature: fast for many assignments.

    The places are quantiles of both sides together, the same under every assignment, so p-values stay exact; each
    distance is at most 1/128 of the patches below that of `ks_distances`. Arguments and result are those of it.
    """
    count, features = values.shape
    of_unit = np.bincount(units, minlength=night.shape[1]).astype(np.float32)
    chosen = night.astype(np.float32)
    on_night = (chosen @ of_unit)[:, None]
    distances = np.empty((night.shape[0], features), np.float32)
    places = np.unique(np.linspace(0, count - 1, min(GRID, count)).round().astype(np.intp))
    for feature in range(features):
        order = np.argsort(values[:, feature], kind="stable")
        ordered = values[order, feature]
        # a distribution function may be compared only after the last of equal values
        last = np.unique(np.searchsorted(ordered, ordered[places], side="right") - 1)
        cell = np.empty(count, np.intp)
        cell[order] = np.searchsorted(last, np.arange(count), side="left")
        counts = np.zeros((night.shape[1], last.size + 1), np.float32)
        np.add.at(counts, (units, cell), 1.0)
        below = np.cumsum(counts[:, : last.size], axis=1)
        seen = chosen @ below
        gap = seen / on_night - (below.sum(axis=0) - seen) / (count - on_night)
        distances[:, feature] = np.abs(gap).max(axis=1)
    return distances


def p_values(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (F,) permutation p-values of row 0 of (P, F) distances, itself counted (so never 0)."""
    p: NDArray[np.float64] = (distances >= distances[0] - TIE_TOLERANCE).mean(axis=0)
    return p
