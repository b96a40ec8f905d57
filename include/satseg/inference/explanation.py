"""The values of an explanation: where a model looks, and where it is unsure, for windows and blended over a scene."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.operation import InferenceConfig
from satseg.inference.blend import FinishedRows, blend
from satseg.inference.sources import ReadPlan
from satseg.inference.symmetries import SYMMETRIES, seen_through
from satseg.inference.windows import Region, plan_windows, read_ahead, read_strips
from satseg.models.interface import Explainer
from satseg.models.uncertainty import pixel_entropy

BANDS = ("probability", "seg_grad_cam", "entropy", "disagreement")


def explaining(explainer: Explainer, test_time: str, class_id: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return a function from raw windows (N, H, W, C) to the values of `BANDS`, (N, H, W, 4) float32.

    Mirrored and turned windows show the same ground, so a sure model answers alike. Of the answers: the mean
    probability of the class; the entropy of the mean, as a part of the largest possible; and how much of it is
    disagreement, that is the entropy of the mean less the mean of the entropies (mutual information, after Houlsby et
    al. 2011, "Bayesian active learning", and Wang et al. 2019, "Aleatoric uncertainty estimation with test-time
    augmentation"). Seg-Grad-CAM is that of the window as it is.
    """
    symmetries = [symmetry for symmetry in SYMMETRIES[test_time] if symmetry != (0, False)]

    def explained(images: NDArray[Any]) -> NDArray[np.float32]:
        first, looked_at = explainer.explain(images)
        total, entropies = first.copy(), pixel_entropy(first)
        for symmetry in symmetries:
            answer = seen_through(explainer.predict, images, *symmetry)
            total += answer
            entropies += pixel_entropy(answer)
        views = np.float32(len(symmetries) + 1)
        mean = total / views
        entropy = pixel_entropy(mean)
        of_class = mean[..., 0 if mean.shape[-1] == 1 else class_id]
        disagreement = np.maximum(entropy - entropies / views, 0.0)
        return np.stack([of_class, looked_at, entropy, disagreement], axis=-1).astype(np.float32, copy=False)

    return explained


def explained_rows(
    plan: ReadPlan,
    region: Region,
    explain: Callable[[NDArray[Any]], NDArray[np.float32]],
    config: InferenceConfig,
) -> Generator[FinishedRows]:
    """Yield the values of `BANDS` for a region of a scene from top to bottom, blended like a prediction."""
    windows = plan_windows(plan.grid.height, plan.grid.width, config.window_px, config.overlap).part(region)
    with plan.open(windows.columns) as rows, closing(read_ahead(read_strips(rows, windows))) as strips:
        yield from blend(strips, windows, explain, len(BANDS), config.batch_size, weighting=config.weighting)
