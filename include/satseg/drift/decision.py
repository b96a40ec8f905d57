"""Whether a night differs from the reference by more than chance, and enough to matter.

Units dealt anew for the null distribution, chosen from their numbers alone, never from the data:

1. Whole scenes, when so many are there that the smallest possible p-value reaches the night's level.
2. Blocks, when scenes are too few. Blocks of one scene resemble each other, so this alone would take any new town for
   drift. A test therefore counts only when, besides, no other way of dealing the whole scenes moves it as far. A quiet
   night then alarms at most as often as the smallest p-value of dealing scenes (1 in 3 for two reference scenes and one
   new one), should scenes differ from each other by nature: the result states this bound. A single known scene is dealt
   by its quarters, each of which might have been the night.
3. Otherwise there is not enough reference, which is a verdict of its own, never a silent "no drift".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.drift import DriftConfig
from satseg.drift.multivariate import whitened
from satseg.drift.permutation import TIE_TOLERANCE
from satseg.drift.statistics import Sample, Tested, effect_together, effects, farthest, parts_of_gap, tested
from satseg.drift.units import Units, block_units, pooled, quarter_units, scene_units
from satseg.drift.words import change_in_words, shift_in_iqr, together_in_words
from satseg.stages import FeatureDrift

Permuted = Literal["scenes", "blocks"]
Embedding = Callable[[pd.DataFrame, NDArray[np.float32], Units], NDArray[np.float64]]
CORRECTIONS = {"max": "step-down maxT", "holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}
TOGETHER = "all features together"
ENCODER = "content as the encoder sees it"


@dataclass(frozen=True)
class Decision:
    """Outcome of comparing a night with the reference; `permuted` None means it could not be decided.

    Attributes:
        features: The tests of single features, drifted ones first.
        together: The test of all of them at once.
        permuted: Units dealt anew.
        bound: Chance of an alarm in a quiet night, also when scenes differ from each other by nature.
        explanation: How it was tested, or what is missing.
        held_back: Tests that differ between blocks, but no further than scenes differ among themselves.
        warnings: For people.
    """

    features: list[FeatureDrift] = field(default_factory=list)
    together: FeatureDrift | None = None
    permuted: Permuted | None = None
    bound: float | None = None
    explanation: str = ""
    held_back: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def tests(self) -> list[FeatureDrift]:
        """All tests, that of all features together last."""
        return [*self.features, *([self.together] if self.together else [])]

    @property
    def drifted(self) -> bool:
        """Whether anything drifted."""
        return any(test.drifted for test in self.tests)


def _whitened(both: pd.DataFrame, values: NDArray[np.float32], units: Units) -> NDArray[np.float64]:
    return whitened(values, units.of_patch)


def decide(  # noqa: PLR0917 - the question and its terms
    reference: pd.DataFrame,
    night: pd.DataFrame,
    features: tuple[str, ...],
    drift: DriftConfig,
    level: float,
    rng: np.random.Generator,
    earlier: pd.DataFrame | None = None,
    embedding: Embedding = _whitened,
) -> Decision:
    """Compare two profiles feature by feature and all features together.

    Args:
        reference: Profile rows of the reference; columns scene, block and the features.
        night: The same of the night.
        features: Columns to compare; those with one value everywhere say nothing and are not counted.
        drift: Correction, units, effect floor, number of permutations.
        level: Chance of an alarm in a quiet night.
        rng: Source of the permutations.
        earlier: Scenes of earlier nights of this quiet period; they join the reference's side in the null distribution
            (see `sequential`), not in the distances that are told.
        embedding: Maps patches to the space in which they are compared together.
    """
    names = _varying(reference, night, features)
    if not names:
        return Decision(explanation="No feature has more than one value: nothing can be compared.")
    needed = level / _factor(drift, len(names))
    known = reference if earlier is None or earlier.empty else pd.concat([reference, earlier], ignore_index=True)
    both, warnings = pooled(known, night, rng)
    scenes, blocks = scene_units(both), block_units(both)
    permuted = _permuted(scenes, blocks, drift, needed)
    if permuted == "blocks" and known is not reference:  # the scene guard asks how the reference's own scenes differ
        return decide(reference, night, features, drift, level, rng, None, embedding)
    values = both[names].to_numpy(np.float32)
    if permuted is None:
        return Decision(explanation=_too_few(scenes, blocks, drift, level, len(names)), warnings=warnings)
    units = scenes if permuted == "scenes" else blocks
    sample = Sample(values, embedding(both, values, units))
    result = tested(sample, units, drift.correction, drift.permutations, rng, level)
    counts, bound = np.ones(len(names) + 1, bool), level
    if permuted == "blocks":
        guard = scenes if scenes.known > 1 else quarter_units(both)
        bound = guard.smallest_p(drift.permutations)
        counts = farthest(sample, guard, drift.permutations, rng)
        warnings.append(_few_scenes(scenes, bound, level))
    told = _Telling(reference, night, tuple(names), drift.min_effect, level)
    found, held_back = told.features(result, counts)
    if permuted == "blocks" or not result.together_counts:  # the bound holds for the features
        counts[-1] &= any(feature.drifted for feature in found)
    linear = embedding is _whitened
    together = told.together(result, bool(counts[-1]), effect_together(sample, units), linear)
    if linear:
        together = together.model_copy(
            update={"change": together_in_words(names, parts_of_gap(sample, units), together.distance)}
        )
    return Decision(found, together, permuted, bound, _dealt(units, permuted), held_back, warnings)


def _varying(reference: pd.DataFrame, night: pd.DataFrame, features: tuple[str, ...]) -> list[str]:
    columns = list(features)
    low = np.minimum(reference[columns].min(), night[columns].min())
    high = np.maximum(reference[columns].max(), night[columns].max())
    return [name for name in columns if low[name] < high[name]]


def _factor(drift: DriftConfig, features: int) -> int:
    """Return how much finer than the level a p-value must be able to get, so that one feature alone can alarm."""
    return 1 if drift.correction == "max" else features + 1


def _permuted(scenes: Units, blocks: Units, drift: DriftConfig, needed: float) -> Permuted | None:
    if drift.units != "blocks" and scenes.smallest_p(drift.permutations) <= needed:
        return "scenes"
    if drift.units != "scenes" and blocks.smallest_p(drift.permutations) <= needed:
        return "blocks"
    return None


@dataclass(frozen=True)
class _Telling:
    """Turns test results into what is reported; distances and shifts are against the reference alone."""

    reference: pd.DataFrame
    night: pd.DataFrame
    names: tuple[str, ...]
    min_effect: float
    level: float

    def features(self, result: Tested, counts: NDArray[np.bool_]) -> tuple[list[FeatureDrift], int]:
        """Return the features, drifted ones first, and how many the scene guard held back."""
        sides = [side[list(self.names)].to_numpy(np.float32) for side in (self.reference, self.night)]
        on_night = np.repeat([False, True], [len(side) for side in sides])
        distances = effects(np.concatenate(sides), on_night)
        small = (result.adjusted[:-1] <= self.level + TIE_TOLERANCE) & (distances >= self.min_effect)
        found = []
        for index, name in enumerate(self.names):
            shift, distance = shift_in_iqr(sides[0][:, index], sides[1][:, index]), float(distances[index])
            found.append(
                FeatureDrift(
                    feature=name,
                    distance=distance,
                    p_value=float(result.p_values[index]),
                    p_adjusted=float(result.adjusted[index]),
                    shift=shift,
                    drifted=bool(small[index] and counts[index]),
                    change=change_in_words(name, shift, distance),
                )
            )
        found.sort(key=lambda feature: (not feature.drifted, -feature.distance, feature.feature))
        return found, int((small & ~counts[:-1]).sum())

    def together(self, result: Tested, counts: bool, distance: float, linear: bool) -> FeatureDrift:
        """Return the test of all features together."""
        small = result.adjusted[-1] <= self.level + TIE_TOLERANCE and distance >= self.min_effect
        return FeatureDrift(
            feature=TOGETHER if linear else ENCODER,
            distance=distance,
            p_value=float(result.p_values[-1]),
            p_adjusted=float(result.adjusted[-1]),
            shift=0.0,
            drifted=bool(small and counts),
            change="" if linear else "patches that look unlike the reference's to the champion's encoder",
        )


def _dealt(units: Units, what: str) -> str:
    return f"Whole {what} were dealt anew ({units.known} known, {units.new} of the night)"


def _few_scenes(scenes: Units, bound: float, level: float) -> str:
    return (
        f"Only {scenes.known} known and {scenes.new} new scenes: blocks were dealt anew instead of scenes. Should "
        f"scenes differ from each other by nature, the chance of an alarm in a quiet night is up to {bound:.0%}, "
        f"not {level:.2g}. {scenes.enough(level)} labelled scenes in training, or more scenes per night, mend this."
    )


def _too_few(scenes: Units, blocks: Units, drift: DriftConfig, level: float, features: int) -> str:
    needed = level / _factor(drift, features)
    if drift.units != "blocks" and drift.permutations + 1 < 1 / needed:
        return (
            f"drift.permutations={drift.permutations} cannot reach the night's level {level:.2g}"
            f"{f' with {features} features and drift.correction={drift.correction}' if needed < level else ''}: "
            f"set it to {int(np.ceil(1 / needed))} or more."
        )
    units, what = (scenes, "scenes") if drift.units == "scenes" else (blocks, _blocks(drift))
    return (
        f"{units.known} known and {units.new} new {what} give p-values no smaller than "
        f"{units.smallest_p(drift.permutations):.3g}; {needed:.2g} is needed. With {units.enough(needed)} known {what} "
        "it can be decided; more scenes per night, smaller blocks or drift.correction: max help too."
    )


def _blocks(drift: DriftConfig) -> str:
    return f"blocks of {drift.block_patches * drift.patch_px} px"
