"""Which windows are kept: enough data, and training negatives to a ratio."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from satseg.config.patches import PatchConfig
from satseg.config.project import content_id

if TYPE_CHECKING:
    import pandas as pd

CHECKED_NEGATIVE_PART = 0.05  # of a scene without positives, so that it teaches something too


def decide(table: "pd.DataFrame", data_fraction: NDArray[np.float64], config: PatchConfig, scene: str) -> None:
    """Fill `positive`, `kept`, `reason` and `draw_weight` of a scene's windows in place.

    The buffer has spoken already (reason "buffer"). Val and test keep everything that has data, so that measuring
    is not biased; train keeps all positives and a seeded sample of negatives.

    Args:
        table: windows with split, reason and one fraction_<class> column per class.
        data_fraction: (N,) part of each window inside the scene that has data.
        config: thresholds, ratio and seed.
        scene: scene id, part of the seed.
    """
    labelled = table[[name for name in table.columns if name.startswith("fraction_")]].sum(axis=1)
    table["positive"] = (labelled >= config.positive_fraction) & (labelled > 0)
    empty = (table["reason"] == "") & (1 - data_fraction > config.max_nodata_fraction)
    table.loc[empty, "reason"] = "nodata"
    table.loc[_surplus_negatives(table, config, scene), "reason"] = "negative sampling"
    table["kept"] = table["reason"] == ""
    drawn_often = table["kept"] & table["positive"] & (table["split"] == "train")
    table["draw_weight"] = np.where(drawn_often, config.copies_per_positive, table["kept"].astype(int))


def _surplus_negatives(table: "pd.DataFrame", config: PatchConfig, scene: str) -> NDArray[np.int64]:
    train = (table["reason"] == "") & (table["split"] == "train")
    positives = int((train & table["positive"]).sum())
    negatives = np.flatnonzero(train & ~table["positive"])
    base = positives if positives else len(negatives) * CHECKED_NEGATIVE_PART
    wanted = math.ceil(config.negatives_per_positive * base)
    rng = np.random.default_rng(int(content_id("negatives", config.seed, scene), 16))
    surplus: NDArray[np.int64] = np.sort(rng.permutation(negatives)[wanted:])
    return surplus
