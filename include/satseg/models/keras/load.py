"""A saved model as a `Segmenter`: raw pixels in, probabilities out."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.models.interface import MODEL_FILE, ModelDescription, Segmenter
from satseg.models.keras.devices import prepare_device
from satseg.models.keras.runtime import keras, tf
from satseg.models.pixels import fitting_pixels, read_description

__all__ = ["KerasSegmenter", "load_network", "load_segmenter", "read_description"]


class KerasSegmenter:
    """A Keras network with normalisation inside, compiled once per pixel type."""

    def __init__(self, network: Any, description: ModelDescription) -> None:
        self.network = network
        self.description = description
        self._call = tf.function(self._probabilities, reduce_retracing=True, autograph=False)

    def _probabilities(self, pixels: Any) -> Any:
        return self.network(tf.cast(pixels, tf.float32), training=False)

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, H, W, K) float32 in 0..1 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        images = fitting_pixels(images, self.description)
        probabilities: NDArray[np.float32] = self._call(tf.constant(images)).numpy()
        return probabilities


def load_network(folder: Path) -> Any:
    """Load the Keras network of a model folder, uncompiled.

    Raises:
        BadDataError: the file is missing, truncated or not a Keras model.
    """
    path = folder / MODEL_FILE
    try:
        with ZipFile(path) as archive, TemporaryDirectory(prefix="satseg-") as unpacked:
            network = keras.saving.deserialize_keras_object(json.loads(archive.read("config.json")))
            # Keras reads weights inside the archive, where each backward seek starts over: 10 times slower
            network.load_weights(archive.extract("model.weights.h5", unpacked))
            return network
    except Exception as error:  # Keras raises whatever its parsers meet in a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadDataError(f"{path} cannot be loaded as a Keras model: {reason}. Train again.") from error


def load_segmenter(folder: Path, threads: int | None = None) -> Segmenter:
    """Load the model of a folder that holds model.keras and model.json.

    Args:
        folder: the model's.
        threads: processor threads of a process that has not computed with TensorFlow yet; None takes all.

    Raises:
        BadDataError: a file is missing or broken.
    """
    if threads is not None:
        with suppress(RuntimeError):  # TensorFlow has begun with other numbers of threads
            prepare_device(threads)
    return KerasSegmenter(load_network(folder), read_description(folder))
