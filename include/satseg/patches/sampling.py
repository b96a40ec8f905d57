"""Which windows are kept: enough data, training negatives to a ratio, hard negatives always."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.patches import PatchConfig
from satseg.config.project import content_id
from satseg.patches.hard_negatives import NO_HARD_NEGATIVES, HardNegatives

if TYPE_CHECKING:
    import pandas as pd

CHECKED_NEGATIVE_PART = 0.05  # of a scene without positives, so that it teaches something too


class Sample(NamedTuple):
    """What `decide` has to tell besides the table: how many listed hard negatives lie on training negatives."""

    hard_negatives: int


def decide(
    table: "pd.DataFrame",
    data_fraction: NDArray[np.float64],
    config: PatchConfig,
    scene: str,
    hard: HardNegatives = NO_HARD_NEGATIVES,
) -> Sample:
    """Fill `positive`, `hard_negative`, `kept`, `reason` and `draw_weight` of a scene's windows in place.

    The buffer has spoken already (reason "buffer"). Val and test keep everything that has data, so that measuring
    is not biased; train keeps all positives, all listed hard negatives and a seeded sample of the other negatives.

    Args:
        table: windows with row, col, split, reason and one fraction_<class> column per class.
        data_fraction: (N,) part of each window inside the scene that has data.
        config: thresholds, ratio and seed.
        scene: scene id, part of the seed.
        hard: windows that a model got wrong.
    """
    labelled = table[[name for name in table.columns if name.startswith("fraction_")]].sum(axis=1)
    least = max(config.positive_fraction, config.min_label_px / config.size_px**2)
    table["positive"] = (labelled >= least) & (labelled > 0)
    empty = (table["reason"] == "") & (1 - data_fraction > config.max_nodata_fraction)
    table.loc[empty, "reason"] = "nodata"
    found = _mark_hard_negatives(table, config, scene, hard)
    table.loc[_surplus_negatives(table, config, scene), "reason"] = "negative sampling"
    table["kept"] = table["reason"] == ""
    weights = np.where(table["hard_negative"], config.copies_per_hard_negative, 1)
    weights = np.where(table["positive"] & (table["split"] == "train"), config.copies_per_positive, weights)
    table["draw_weight"] = np.where(table["kept"], weights, 0)
    return Sample(found)


def _training_negatives(table: "pd.DataFrame") -> NDArray[np.bool_]:
    wanted: NDArray[np.bool_] = ((table["reason"] == "") & (table["split"] == "train") & ~table["positive"]).to_numpy()
    return wanted


def _mark_hard_negatives(table: "pd.DataFrame", config: PatchConfig, scene: str, hard: HardNegatives) -> int:
    table["hard_negative"] = False
    if not hard.digest:
        return 0
    negatives = _training_negatives(table)
    starts = table.loc[negatives, ["row", "col"]].to_numpy()
    hit, found = hard.hit(scene, np.hstack([starts, starts + config.size_px]))
    table.loc[negatives, "hard_negative"] = hit
    return found


def _surplus_negatives(table: "pd.DataFrame", config: PatchConfig, scene: str) -> NDArray[np.int64]:
    positives = int(((table["reason"] == "") & (table["split"] == "train") & table["positive"]).sum())
    negatives = np.flatnonzero(_training_negatives(table) & ~table["hard_negative"].to_numpy())
    base = positives if positives else len(negatives) * CHECKED_NEGATIVE_PART
    wanted = math.ceil(config.negatives_per_positive * base)
    rng = np.random.default_rng(int(content_id("negatives", config.seed, scene), 16))
    surplus: NDArray[np.int64] = np.sort(rng.permutation(negatives)[wanted:])
    return surplus
