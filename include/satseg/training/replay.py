"""Replay: how often a retraining draws from what is new to its starting model, and how often from what it knows."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from satseg.datasets.catalog import content_of, find_tag, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.models.interface import ModelDescription
from satseg.patches.patchset import PatchSet
from satseg.storage.layout import Workspace

if TYPE_CHECKING:
    import pandas as pd

MOST_TIMES = 100  # a window drawn more often teaches nothing more, and rounds would grow without end


def new_scenes(workspace: Workspace, patch_set: PatchSet, learned: ModelDescription) -> frozenset[str] | None:
    """Return the scenes of a patch set that a model has not learned from: new pixels, or new labels of old ones.

    None when the model does not come from this dataset, so that nobody can tell.
    """
    if learned.project != patch_set.project:
        return None
    repository = GitRepository(workspace.data)
    try:
        old, now = (
            read_items(repository, patch_set.project, find_tag(repository, patch_set.project, version).commit)
            for version in (learned.dataset_version, patch_set.dataset_version)
        )
    except NotFoundError:
        return None
    known = {content_of(item) for item in old.values()}
    return frozenset(
        scene for scene in patch_set.description.scenes if scene in now and content_of(now[scene]) not in known
    )


def replay_weights(windows: "pd.DataFrame", new: Collection[str], share: float) -> NDArray[np.int64]:
    """Return draws per round of each window, (N,), so that about `share` of all draws are of new scenes.

    One side is drawn a whole number of times as often as its draw weights say; nothing is drawn less often.

    Args:
        windows: Columns `scene` and `draw_weight`.
        new: Scenes that are new.
        share: Of the draws, 0 … 1 (both exclusive).
    """
    weights = windows["draw_weight"].to_numpy(np.int64)
    is_new = windows["scene"].isin(list(new)).to_numpy()
    fresh, known = float(weights[is_new].sum()), float(weights[~is_new].sum())
    if not fresh or not known:
        return weights
    times = share / (1 - share) * known / fresh
    factors = np.where(is_new, max(round(times), 1), max(round(1 / times), 1))
    return weights * np.minimum(factors, MOST_TIMES)
