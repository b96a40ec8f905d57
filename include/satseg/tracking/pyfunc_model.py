"""The code that MLflow stores with every model ("models from code"); it needs nothing of satseg.

Raw pixels (N, H, W, C) in, probabilities (N, H, W, K) float32 out; H and W are multiples of 32.
"""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import mlflow
import numpy as np


class SegmentationModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Loads model.keras and predicts batches."""

    def load_context(self, context: Any) -> None:
        """Load the network; called once by MLflow."""
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf
        import tf_keras

        description = json.loads(Path(context.artifacts["description"]).read_text(encoding="utf-8"))
        self._bands, self._mean = description["bands"], np.asarray(description["mean"], np.float32)
        # load_model would read the weights inside the archive, where each backward seek starts over: 10 times slower
        with ZipFile(context.artifacts["model"]) as archive, TemporaryDirectory(prefix="satseg-") as unpacked:
            network = tf_keras.saving.deserialize_keras_object(json.loads(archive.read("config.json")))
            network.load_weights(archive.extract("model.weights.h5", unpacked))
        self._predict = tf.function(
            lambda pixels: network(pixels, training=False), reduce_retracing=True, autograph=False
        )

    # MLflow warns at each load about any type of model_input but this one
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:
        """Return the probabilities of raw pixels; pixels that are no number count as average ones."""
        pixels = np.asarray(model_input, dtype=np.float32)
        if pixels.ndim != 4 or pixels.shape[3] != len(self._bands) or pixels.shape[1] % 32 or pixels.shape[2] % 32:
            raise ValueError(
                f"The model takes (N, H, W, {len(self._bands)}) with H and W multiples of 32 and bands "
                f"{', '.join(self._bands)}; it was given {pixels.shape}."
            )
        return self._predict(np.where(np.isfinite(pixels), pixels, self._mean)).numpy()


mlflow.models.set_model(SegmentationModel())
