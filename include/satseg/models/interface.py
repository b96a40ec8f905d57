"""What the rest of satseg knows of a model: NumPy in, NumPy out."""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MODEL_FILE = "model.keras"
DESCRIPTION_FILE = "model.json"
IGNORED = 255  # value of mask pixels that count in no loss and no score


class ModelDescription(BaseModel):
    """Everything needed to use a model file rightly; stored beside it as model.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    schema_version: Literal[1] = 1
    project: str
    architecture: str
    backbone: str
    bands: tuple[str, ...]
    dtype: str
    classes: tuple[str, ...]
    patch_px: int
    gsd_m: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dataset_version: str
    patch_set: str

    @property
    def channels(self) -> int:
        """Output channels: 1 for one class (sigmoid), otherwise N + 1 with background first (softmax)."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1


class Segmenter(Protocol):
    """A loaded model."""

    description: ModelDescription

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities for raw pixels; normalisation happens inside.

        Args:
            images: (N, H, W, C) in the scenes' dtype; H and W multiples of 32.

        Returns:
            (N, H, W, K) float32 in 0..1, K = `description.channels`.
        """
        ...


class EmbeddingSegmenter(Protocol):
    """A loaded model that also says what its encoder sees."""

    description: ModelDescription

    def predict_and_embed(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `Segmenter.predict` does, and the pooled output of the encoder (N, D) float32, in one pass."""
        ...


class Explainer(Segmenter, Protocol):
    """A loaded model that also says where it looks."""

    def explain(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `Segmenter.predict` does, and how much each place speaks for a class: (N, H, W) in 0..1."""
        ...


def class_ids(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Turn probabilities (..., K) into class ids (...,) uint8: threshold for K = 1, else the most probable class."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] >= threshold).astype(np.uint8)
    ids: NDArray[np.uint8] = probabilities.argmax(axis=-1).astype(np.uint8)
    return ids
