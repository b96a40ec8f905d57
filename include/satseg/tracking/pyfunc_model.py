"""The code that MLflow stores with every model ("models from code"); it needs nothing of satseg.

Raw pixels (N, H, W, C) in, probabilities (N, H, W, K) float32 out; H and W are multiples of 32.
"""

import os
from typing import Any

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

        network = tf_keras.models.load_model(context.artifacts["model"], compile=False)
        self._predict = tf.function(lambda pixels: network(pixels, training=False), reduce_retracing=True)

    # MLflow warns at each load about any type of model_input but this one
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:  # type: ignore[type-arg]
        """Return the probabilities of raw pixels."""
        return self._predict(np.asarray(model_input, dtype=np.float32)).numpy()


mlflow.models.set_model(SegmentationModel())
