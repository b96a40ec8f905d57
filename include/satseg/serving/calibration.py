"""Windows that stand for all: what int8 is calibrated with, and what its candidates are compared on."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.patches.patchset import PatchSet

TENTHS = 10


def spread(rows: pd.DataFrame, wanted: int, seed: int) -> pd.DataFrame:
    """Choose windows evenly over scenes and over the part of a window that belongs to any class.

    Args:
        rows: of the manifest.
        wanted: how many; all rows when there are fewer.
        seed: of the draw within each group.

    Returns:
        The chosen rows: one of each group (scene, tenth of the class fraction) in turn, until there are enough.
    """
    if len(rows) <= wanted:
        return rows
    mixed = rows.sample(frac=1.0, random_state=seed)
    share = sum((mixed[name] for name in _fractions(mixed)), start=pd.Series(0.0, index=mixed.index))
    tenth = np.minimum((share * TENTHS).astype(int), TENTHS - 1)
    turn = mixed.groupby([mixed["scene"], tenth]).cumcount()
    return mixed.assign(turn=turn).sort_values("turn", kind="stable").head(wanted).drop(columns="turn")


def _fractions(rows: pd.DataFrame) -> list[str]:
    named = [name for name in rows.columns if name.startswith("fraction_") and name != "fraction_background"]
    return named or (["positive"] if "positive" in rows.columns else [])


def pixels_and_labels(patch_set: PatchSet, rows: pd.DataFrame) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Read windows in the order of the rows: (N, H, W, C) in the scenes' dtype, (N, H, W) uint8 class ids."""
    images, masks = [], []
    for shard, index in zip(rows["shard"], rows["index"], strict=True):
        images.append(np.asarray(patch_set.images(shard)[index]))
        masks.append(np.asarray(patch_set.masks(shard)[index]))
    return np.stack(images), np.stack(masks)
