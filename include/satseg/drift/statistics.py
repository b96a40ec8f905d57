"""The tests of one night: each feature alone, and all together, under every way of dealing the units anew."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from satseg.drift.multiplicity import benjamini_hochberg, holm, ranked, smallest_of, standardised, step_down_max
from satseg.drift.multivariate import along_the_gap, mean_discrepancies, unit_means
from satseg.drift.permutation import TIE_TOLERANCE, deal, ks_distances, ks_on_grid, p_values
from satseg.drift.units import Units

Correction = Literal["max", "holm", "benjamini-hochberg"]
# known units; with fewer, the spread of a feature over the permutations is mostly the drift of the night itself
ENOUGH_TO_SCALE = 20


@dataclass(frozen=True)
class Tested:
    """The tests of F features and, in the last place, of all together.

    Attributes:
        p_values: (F + 1,) of each test alone.
        adjusted: (F + 1,) adjusted over everything that counts.
        together_counts: Whether all together may alarm by itself; otherwise it only bears a feature out.
    """

    p_values: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    together_counts: bool


@dataclass(frozen=True)
class Sample:
    """What a night is tested on.

    Attributes:
        values: (N, F) features of patches.
        embedded: (N, D) the patches in the space in which all is compared together.
    """

    values: NDArray[np.float32]
    embedded: NDArray[np.float64]


def tested(  # noqa: PLR0917 - the question and its terms
    sample: Sample,
    units: Units,
    correction: Correction,
    permutations: int,
    rng: np.random.Generator,
    level: float,
) -> Tested:
    """Compare the night's units with the others.

    With the correction "max", features are compared by the largest of their distances, step by step, and the two looks
    (the farthest feature, all together) by the smaller of their p-values: both by the permutations themselves, so that
    dependence costs nothing. Where there are too few ways of dealing for two looks, there is one. What is done
    depends on the numbers of units alone, never on what they show.

    Args:
        sample: The patches of both sides.
        units: Their units.
        correction: Over the features and the look at all together.
        permutations: At most so many random ones.
        rng: Their source.
        level: Level of the night.
    """
    night = deal(units.night, permutations, rng).night
    distances = ks_on_grid(sample.values, units.of_patch, night).astype(np.float64)
    together = mean_discrepancies(unit_means(sample.embedded, units.of_patch, units.night.size), night)
    alone = p_values(np.column_stack([distances, together]))
    if correction == "holm":
        return Tested(alone, holm(alone), together_counts=True)
    if correction == "benjamini-hochberg":
        return Tested(alone, benjamini_hochberg(alone), together_counts=True)
    compared = standardised(distances) if units.known >= ENOUGH_TO_SCALE else distances
    within = np.append(step_down_max(compared), alone[-1])
    if 2 * units.smallest_p(permutations) > level:
        return Tested(alone, within, together_counts=False)
    families = np.column_stack([ranked(compared.max(axis=1)), ranked(together)])
    return Tested(alone, smallest_of(within, families), together_counts=True)


def farthest(sample: Sample, scenes: Units, permutations: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which features, and in the last place whether all together, no other way of dealing moves as far.

    (F + 1,) bool. By chance some feature is among them as often as `scenes.smallest_p` says.
    """
    night = deal(scenes.night, permutations, rng).night
    distances = ks_on_grid(sample.values, scenes.of_patch, night).astype(np.float64)
    together = mean_discrepancies(unit_means(sample.embedded, scenes.of_patch, scenes.night.size), night)
    reached = np.append(step_down_max(distances), ranked(together)[0])
    found: NDArray[np.bool_] = reached <= scenes.smallest_p(permutations) + TIE_TOLERANCE
    return found


def effects(values: NDArray[np.float32], on_night: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the exact Kolmogorov-Smirnov distance of each feature between two sides, (F,)."""
    found: NDArray[np.float64] = ks_distances(values, on_night.astype(np.intp), np.array([[False, True]]))[0]
    return found


def effect_together(sample: Sample, units: Units) -> float:
    """Return the distance between both sides in the direction in which their units differ most clearly."""
    scores = along_the_gap(sample.embedded, units.of_patch, units.night)
    return float(effects(scores[:, None].astype(np.float32), units.night[units.of_patch])[0])


def parts_of_gap(sample: Sample, units: Units) -> NDArray[np.float64]:
    """Return how much each feature contributes to the distance of all together, (F,), for embeddings linear in them."""
    scores = along_the_gap(sample.embedded, units.of_patch, units.night)
    on_night = units.night[units.of_patch]
    values = sample.values - sample.values.mean(axis=0, dtype=np.float64)
    slopes = np.linalg.lstsq(values, scores - scores.mean(), rcond=None)[0]
    parts: NDArray[np.float64] = slopes * (values[on_night].mean(axis=0) - values[~on_night].mean(axis=0))
    return parts
