"""What the champion predicts in each patch, read from the maps it has written: no second prediction pass.

The reference counts only where the champion was not trained: on its training windows a model is surer than anywhere
else, so every new scene would look like drift.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError, NotFoundError
from satseg.inference.encoding import decode
from satseg.inference.item import CLASSES_FILE, PROBABILITY_FILE, read_record
from satseg.patches.patchset import open_patch_set
from satseg.scenes.raster import open_scene
from satseg.storage.layout import Workspace

STATISTICS = ("positive_fraction", "mean_confidence", "predicted_entropy", "object_count", "object_size_px")
_PLACE = ["scene", "checksum", "block", "row", "col"]
_LEAST = 1e-6


def predicted(profile: pd.DataFrame, record: SceneRecord, folder: Path, patch_px: int) -> pd.DataFrame | None:
    """Return the statistics of the predictions in a scene's patches; None when there is no prediction of this scene.

    Args:
        profile: Rows of the scene's profile, which say where the patches are.
        record: The scene.
        folder: Prediction by one model.
        patch_px: Side of a patch.

    Returns:
        Columns scene, checksum, block, row, col and `STATISTICS`.
    """
    made = read_record(folder)
    if made is None or made.scene_checksum != record.checksum or profile.empty:
        return None
    found = profile[_PLACE].copy()
    try:
        with open_scene(folder / PROBABILITY_FILE) as probability, open_scene(folder / CLASSES_FILE) as classes:
            described = [
                patch_statistics(
                    decode(probability.read(int(row), int(col), patch_px, patch_px, pad="none")),
                    classes.read(int(row), int(col), patch_px, patch_px, pad="none")[..., 0],
                    probability.valid_mask(int(row), int(col), patch_px, patch_px),
                )
                for row, col in zip(profile["row"], profile["col"], strict=True)
            ]
    except (BadDataError, NotFoundError, ValueError):  # a prediction that cannot be read is none
        return None
    found[list(STATISTICS)] = np.asarray(described, np.float32)
    return found


def patch_statistics(
    probabilities: NDArray[np.float32], classes: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Describe the prediction of one patch.

    Args:
        probabilities: (H, W, K) of the classes without background.
        classes: (H, W) class ids, 0 is background.
        valid: (H, W).

    Returns:
        Share of pixels that are no background; mean probability of what was chosen; mean entropy in bits per pixel;
        number of connected objects and their mean size in pixels (0 without any).
    """
    if not valid.any():
        return (0.0,) * len(STATISTICS)
    inside = np.clip(probabilities[valid], 0.0, 1.0)
    chances = np.concatenate([np.clip(1 - inside.sum(axis=1, keepdims=True), 0.0, 1.0), inside], axis=1)
    positive = (classes > 0) & valid
    entropy = -(chances * np.log2(np.maximum(chances, _LEAST))).sum(axis=1)
    count, _, stats, _ = cv2.connectedComponentsWithStats(positive.astype(np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    return (
        float(positive.sum() / valid.sum()),
        float(chances.max(axis=1).mean()),
        float(entropy.mean()),
        float(count - 1),
        float(sizes.mean()) if sizes.size else 0.0,
    )


def held_out(found: pd.DataFrame, workspace: Workspace, project: str, patch_set: str, patch_px: int) -> pd.DataFrame:
    """Return the rows of patches that no training window of a patch set touches.

    Raises:
        NotFoundError: the patch set is gone.
    """
    opened = open_patch_set(workspace, project, patch_set)
    windows = opened.windows("train")
    kept = np.ones(len(found), bool)
    scenes = found["scene"].to_numpy()
    for scene, train in windows.groupby("scene"):
        here = np.flatnonzero(scenes == scene)
        touching = np.ones((len(here), len(train)), bool)
        for axis in ("row", "col"):
            patch, window = found[axis].to_numpy()[here][:, None], train[axis].to_numpy()
            touching &= (patch < window + opened.size_px) & (window < patch + patch_px)
        kept[here] = ~touching.any(axis=1)
    return found[kept]


def predictions_of(
    workspace: Workspace, project: ProjectConfig, model: str, profile: pd.DataFrame, records: dict[str, SceneRecord]
) -> pd.DataFrame:
    """Return the statistics of a model's predictions in the patches of a profile; empty when it has predicted none.

    Args:
        workspace: Where the predictions are.
        project: The project.
        model: Label of the model.
        profile: Which patches.
        records: The profile's scenes by checksum; predictions of scenes not there are left out.
    """
    parts = []
    for checksum, rows in profile.groupby("checksum", sort=True):
        if (record := records.get(str(checksum))) is None:
            continue
        folder = workspace.prediction(project.name, record.id, model)
        part = predicted(rows, record, folder, project.drift.patch_px)
        if part is not None:
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
