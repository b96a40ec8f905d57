"""What a network's encoder sees in a patch: its deepest features, averaged over the patch."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.models.keras.architectures import encoder_layers
from satseg.models.keras.load import load_network
from satseg.models.keras.runtime import constant_weights, keras, tf
from satseg.models.pixels import fitting_pixels, read_description


def _pooled_encoder(network: Any) -> Any:
    deepest = [layer for layer in encoder_layers(network) if len(layer.output.shape) == 4][-1]
    return keras.layers.GlobalAveragePooling2D()(deepest.output)


class KerasEmbeddingSegmenter:
    """A saved model that gives probabilities and the pooled output of its encoder in one pass."""

    def __init__(self, folder: Path) -> None:
        """Load a model folder.

        Raises:
            BadDataError: a file is missing or broken.
        """
        network = load_network(folder)
        self._network = keras.Model(network.input, [network.output, _pooled_encoder(network)])
        self.description = read_description(folder)
        self._call = tf.function(self._both, reduce_retracing=True, autograph=False)

    def _both(self, pixels: Any) -> Any:
        return self._network(tf.cast(pixels, tf.float32), training=False)

    def predict_and_embed(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (N, H, W, K) probabilities and (N, D) embeddings, float32, for raw pixels (N, H, W, C).

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        probabilities, embeddings = self._call(tf.constant(fitting_pixels(images, self.description)))
        return probabilities.numpy(), embeddings.numpy()


def _frozen(network: Any, bands: int) -> Callable[[Any], Any]:
    """Return a call of a network that is compiled once per pixel type.

    With weights as constants, TensorFlow folds the batch normalisation into the convolutions: a fifth less to compute.
    """

    @cache
    def compiled(dtype: Any) -> Any:
        call = tf.function(lambda pixels: network(tf.cast(pixels, tf.float32), training=False), autograph=False)
        pixels = tf.TensorSpec((None, None, None, bands), dtype)
        return constant_weights(call.get_concrete_function(pixels))

    return lambda pixels: compiled(pixels.dtype)(pixels)[0]


class Encoder:
    """The encoder of a saved model, compiled once per pixel type."""

    def __init__(self, folder: Path) -> None:
        """Load the encoder of a model folder.

        Raises:
            BadDataError: a file is missing or broken.
        """
        network = load_network(folder)
        pooled = _pooled_encoder(network)
        self.description = read_description(folder)
        self.size = int(pooled.shape[-1])
        self._call = _frozen(keras.Model(network.input, pooled), len(self.description.bands))

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return (N, `size`) float32 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        embedded: NDArray[np.float32] = self._call(tf.constant(fitting_pixels(images, self.description))).numpy()
        return embedded
