"""A saved model as a `Segmenter`: raw pixels in, probabilities out."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from satseg.errors import BadDataError
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, ModelDescription, Segmenter
from satseg.models.keras.runtime import keras, tf


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
        bands = len(self.description.bands)
        if images.ndim != 4 or images.shape[-1] != bands or images.shape[1] % 32 or images.shape[2] % 32:
            raise BadDataError(
                f"The model takes (N, H, W, {bands}) with H and W multiples of 32 and bands "
                f"{', '.join(self.description.bands)}; it was given {images.shape}."
            )
        if images.dtype.kind == "f" and not np.isfinite(images).all():
            images = np.where(np.isfinite(images), images, np.asarray(self.description.mean, images.dtype))
        probabilities: NDArray[np.float32] = self._call(tf.constant(images)).numpy()
        return probabilities


def read_description(folder: Path) -> ModelDescription:
    """Read model.json of a model folder.

    Raises:
        BadDataError: it is missing or broken.
    """
    path = folder / DESCRIPTION_FILE
    try:
        return ModelDescription.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BadDataError(f"{path} does not describe a satseg model ({type(error).__name__}). Train again.") from error


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


def load_segmenter(folder: Path) -> Segmenter:
    """Load the model of a folder that holds model.keras and model.json.

    Raises:
        BadDataError: a file is missing or broken.
    """
    return KerasSegmenter(load_network(folder), read_description(folder))
