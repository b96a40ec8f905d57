"""Whether a night differs from the reference by more than chance, and enough to matter.

Units dealt anew for the null distribution, chosen from their numbers alone, never from the data:

1. Whole scenes with Holm's correction, when so many scenes are there that the smallest p-value times the number of
   features reaches the false alarm rate. Holm is the rule; it holds whatever the dependence between the features.
2. Whole scenes with the step-down maxT correction, when the smallest p-value itself reaches the rate. It controls the
   same error, and a coarser correction on honest units is better than Holm on units that are not exchangeable.
3. Blocks with Holm's correction, when scenes are too few. Blocks of one scene resemble each other, so this alone would
   take any new town for drift. A feature therefore counts only when, besides, no other way of dealing the whole scenes
   moves any feature as far. A quiet night then alarms at most as often as the smallest p-value of dealing scenes (1 in
   3 for two reference scenes and one new one): the result states this bound.
4. Otherwise there is not enough reference, which is a verdict of its own, never a silent "no drift".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.operation import DriftConfig
from satseg.drift.multiplicity import holm, step_down_max
from satseg.drift.permutation import TIE_TOLERANCE, deal, ks_distances, p_values, smallest_p_value
from satseg.drift.words import change_in_words, shift_in_iqr
from satseg.stages import FeatureDrift

Permuted = Literal["scenes", "blocks"]
Correction = Literal["Holm", "step-down maxT"]
MAX_PATCHES = 200_000


@dataclass(frozen=True)
class Units:
    """Patches grouped into scenes or blocks; no unit has patches of both sides.

    Attributes:
        of_patch: (N,) unit of each patch.
        night: (U,) bool, True for units of the night.
    """

    of_patch: NDArray[np.intp]
    night: NDArray[np.bool_]

    def smallest_p(self, permutations: int) -> float:
        """Return the smallest p-value that dealing these units anew can give."""
        return smallest_p_value(self.night.size, int(self.night.sum()), permutations)


@dataclass(frozen=True)
class Decision:
    """Outcome of comparing a night with the reference; `permuted` None means it could not be decided.

    `held_back` counts features that differ between blocks, but no further than scenes differ among themselves.
    """

    features: list[FeatureDrift]
    permuted: Permuted | None
    correction: Correction | None
    false_alarm_bound: float | None
    explanation: str
    held_back: int
    warnings: list[str]

    @property
    def drifted(self) -> bool:
        """Whether any feature drifted."""
        return any(feature.drifted for feature in self.features)


def decide(
    reference: pd.DataFrame,
    night: pd.DataFrame,
    features: tuple[str, ...],
    drift: DriftConfig,
    rng: np.random.Generator,
) -> Decision:
    """Compare two profiles feature by feature.

    Args:
        reference: Profile rows of the reference; columns scene, block and the features.
        night: The same of the night.
        features: Columns to compare; those with one value everywhere say nothing and are not counted.
        drift: Error rate, effect floor, number of permutations.
        rng: Source of the permutations.
    """
    pooled, warnings = _pooled(reference, night, rng)
    values = pooled[list(features)].to_numpy(np.float32)
    varying = values.min(axis=0) < values.max(axis=0)
    names = [name for name, keep in zip(features, varying, strict=True) if keep]
    values = values[:, varying]
    if not names:
        return Decision(
            [], None, None, None, "No feature has more than one value: nothing can be compared.", 0, warnings
        )
    scenes, blocks = _units(pooled, ["night", "scene"]), _units(pooled, ["night", "scene", "block"])
    alpha, permutations = drift.false_alarm_rate, drift.permutations
    of_scenes, of_blocks = scenes.smallest_p(permutations), blocks.smallest_p(permutations)
    if of_scenes > alpha and of_blocks * len(names) > alpha:
        return Decision([], None, None, None, _too_few(blocks, of_blocks, len(names), drift), 0, warnings)

    null = ks_distances(values, scenes.of_patch, deal(scenes.night, permutations, rng).night)
    enough, bound, held_back = null[0] >= drift.min_effect, alpha, 0
    permuted: Permuted = "scenes"
    correction: Correction = "Holm"
    if of_scenes * len(names) <= alpha:
        adjusted = holm(p_values(null))
    elif of_scenes <= alpha:
        correction, adjusted = "step-down maxT", step_down_max(null)
    else:
        permuted, bound = "blocks", of_scenes
        farthest = step_down_max(null) <= of_scenes + TIE_TOLERANCE
        null = ks_distances(values, blocks.of_patch, deal(blocks.night, permutations, rng).night)
        adjusted = holm(p_values(null))
        held_back = int((enough & (adjusted <= alpha) & ~farthest).sum())
        enough &= farthest
        warnings.append(_few_scenes(scenes, of_scenes, alpha))
    tests = pd.DataFrame({"feature": names, "distance": null[0], "p_value": p_values(null), "p_adjusted": adjusted})
    tests["drifted"] = enough & (adjusted <= alpha)
    dealt = _dealt(scenes if permuted == "scenes" else blocks, permuted)
    found = _features(tests, values, scenes.night[scenes.of_patch])
    return Decision(found, permuted, correction, bound, dealt, held_back, warnings)


def _pooled(reference: pd.DataFrame, night: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, list[str]]:
    pooled = pd.concat([reference.assign(night=False), night.assign(night=True)], ignore_index=True)
    if len(pooled) <= MAX_PATCHES:
        return pooled, []
    kept = np.sort(rng.choice(len(pooled), MAX_PATCHES, replace=False))
    return pooled.iloc[kept], [f"{MAX_PATCHES} of {len(pooled)} patches were drawn at random for the test."]


def _units(pooled: pd.DataFrame, columns: list[str]) -> Units:
    groups = pooled.groupby(columns, sort=True)
    number = groups.ngroup().to_numpy(np.intp)
    night = np.zeros(groups.ngroups, bool)
    night[number] = pooled["night"].to_numpy(bool)
    return Units(number.astype(np.intp), night)


def _features(tests: pd.DataFrame, values: NDArray[np.float32], on_night: NDArray[np.bool_]) -> list[FeatureDrift]:
    found = []
    for index, test in enumerate(tests.to_dict("records")):
        shift = shift_in_iqr(values[~on_night, index], values[on_night, index])
        change = change_in_words(test["feature"], shift, test["distance"])
        found.append(FeatureDrift.model_validate({**test, "shift": shift, "change": change}))
    return sorted(found, key=lambda feature: (not feature.drifted, -feature.distance, feature.feature))


def _dealt(units: Units, what: str) -> str:
    night = int(units.night.sum())
    return f"Whole {what} were dealt anew ({units.night.size - night} of the reference, {night} of the night)"


def _few_scenes(scenes: Units, bound: float, alpha: float) -> str:
    night = int(scenes.night.sum())
    return (
        f"Only {scenes.night.size - night} reference and {night} new scenes: blocks were dealt anew instead of scenes. "
        f"Should scenes differ from each other by nature, the chance of a false alarm is up to {bound:.0%} instead of "
        f"{alpha:.0%}. More labelled scenes in training or more scenes per night mend this."
    )


def _too_few(blocks: Units, smallest: float, features: int, drift: DriftConfig) -> str:
    night = int(blocks.night.sum())
    reference = blocks.night.size - night
    if smallest <= 1 / (drift.permutations + 1):
        return (
            f"drift.permutations={drift.permutations} cannot reach the rate {drift.false_alarm_rate} with {features} "
            f"features: set it to {int(np.ceil(features / drift.false_alarm_rate))} or more."
        )
    return (
        f"{reference} reference and {night} new blocks of {drift.block_patches * drift.patch_px} px give p-values no "
        f"smaller than {smallest:.3g}; with {features} features {drift.false_alarm_rate / features:.2g} is needed. "
        "More or larger scenes, or a smaller drift.patch_px or drift.block_patches, mend this."
    )
