"""Patches grouped into the units that are dealt anew: scenes, or blocks of scenes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.drift.permutation import smallest_p_value

MAX_PATCHES = 200_000
REQUESTS = "requests-"  # how scenes are called that are an hour of the service's requests
ALL_WAYS = 10**9  # as if no number of permutations set a limit


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
        return smallest_p_value(self.night.size, self.new, permutations)

    @property
    def new(self) -> int:
        """Units of the night."""
        return int(self.night.sum())

    @property
    def known(self) -> int:
        """Units of the reference and of earlier nights."""
        return self.night.size - self.new

    def enough(self, level: float) -> int:
        """Return how many known units the night's units need so that a p-value can reach a level."""
        known = self.known
        while smallest_p_value(known + self.new, self.new, ALL_WAYS) > level:
            known += 1
        return known


def pooled(known: pd.DataFrame, night: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, list[str]]:
    """Return both profiles with a column `night`, thinned when they are very many patches, and a warning then."""
    both = pd.concat([known.assign(night=False), night.assign(night=True)], ignore_index=True)
    both = _as_large(both, rng)
    if len(both) <= MAX_PATCHES:
        return both, []
    kept = np.sort(rng.choice(len(both), MAX_PATCHES, replace=False))
    return both.iloc[kept], [f"{MAX_PATCHES} of {len(both)} patches were drawn at random for the test."]


def _as_large(both: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return both profiles with at most as many patches per scene as the logged requests of a night have per hour.

    Units that are dealt anew must be alike: two patches scatter more than a scene's hundred, and would seem drifted.
    """
    requests = both[both["night"] & both["scene"].str.startswith(REQUESTS)]
    if requests.empty:
        return both
    most = int(requests.groupby("scene").size().median())
    mixed = both.sample(frac=1.0, random_state=rng)
    kept = mixed.groupby(["night", "scene"]).cumcount() < most
    return mixed[kept].sort_index().reset_index(drop=True)


def scene_units(both: pd.DataFrame) -> Units:
    """Return whole scenes as units."""
    return _units(both, ["night", "scene"])


def block_units(both: pd.DataFrame) -> Units:
    """Return blocks of scenes as units."""
    return _units(both, ["night", "scene", "block"])


def quarter_units(both: pd.DataFrame) -> Units:
    """Return the quarters of each known scene as units, and the night as one."""
    place = both["block"].str.split("_", expand=True).astype(int)
    middle = place.groupby(both["scene"]).transform(lambda index: (index.min() + index.max() + 1) / 2)
    quarter = (place >= middle).astype(int)
    whole = both["night"].to_numpy(bool)
    named = both[["night"]].assign(
        scene=both["scene"].where(~whole, ""),
        down=quarter[0].where(~whole, 0),
        right=quarter[1].where(~whole, 0),
    )
    return _units(named, ["night", "scene", "down", "right"])


def _units(both: pd.DataFrame, columns: list[str]) -> Units:
    groups = both.groupby(columns, sort=True)
    number = groups.ngroup().to_numpy(np.intp)
    night = np.zeros(groups.ngroups, bool)
    night[number] = both["night"].to_numpy(bool)
    return Units(number.astype(np.intp), night)
