"""Does the packaged model load and predict? A score says nothing about the files that production will load."""

import numpy as np
from numpy.typing import NDArray

from satseg.errors import TemporaryError
from satseg.evaluation.evaluate import load
from satseg.models.interface import ModelDescription, Segmenter
from satseg.stages import Gate
from satseg.storage.layout import Workspace
from satseg.tracking.models import ModelRef

BATCH = 2


def sample_images(description: ModelDescription) -> NDArray[np.generic]:
    """Return seeded noise (2, H, W, C) in the model's dtype with the mean and spread of its training data."""
    shape = (BATCH, description.patch_px, description.patch_px, len(description.bands))
    values = np.random.default_rng(0).normal(description.mean, description.std, shape)
    dtype = np.dtype(description.dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = values.clip(limits.min, limits.max)
    return values.astype(dtype)


def fault(segmenter: Segmenter) -> str | None:
    """Say what is wrong with a model's predictions on noise; None when nothing is."""
    description = segmenter.description
    images = sample_images(description)
    probabilities = segmenter.predict(images)
    expected = (*images.shape[:3], description.channels)
    if probabilities.shape != expected:
        return f"predictions have shape {probabilities.shape} instead of {expected}"
    if not np.isfinite(probabilities).all():
        return "predictions are NaN or infinite"
    low, high = float(probabilities.min()), float(probabilities.max())
    if low < -1e-6 or high > 1 + 1e-6:
        return f"predictions lie in {low:.3g}..{high:.3g} instead of 0..1"
    return None


def loads_and_predicts(workspace: Workspace, ref: ModelRef) -> Gate:
    """Load a model as inference does and predict noise; whatever is wrong with it is evidence, not an error.

    Raises:
        TemporaryError: the process was told to stop, or MLflow does not answer.
    """
    try:
        wrong = fault(load(workspace, ref))
    except TemporaryError:  # told to stop, or MLflow is away: that says nothing about the model
        raise
    except Exception as error:  # noqa: BLE001 - any failure to load is exactly what this gate looks for
        wrong = f"{type(error).__name__}: {error}"
    return Gate(
        name="loads_and_predicts",
        passed=wrong is None,
        value=None,
        bound=None,
        evidence=wrong or f"{ref.label} loads and gives finite probabilities of the right shape",
    )
