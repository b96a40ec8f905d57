"""What a network's encoder sees in a patch: its deepest features, averaged over the patch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.models.keras.architectures import encoder_layers
from satseg.models.keras.load import load_network
from satseg.models.keras.runtime import keras, tf
from satseg.models.pixels import fitting_pixels, read_description


class Encoder:
    """The encoder of a saved model, compiled once per pixel type."""

    def __init__(self, folder: Path) -> None:
        """Load the encoder of a model folder.

        Raises:
            BadDataError: a file is missing or broken.
        """
        network = load_network(folder)
        deepest = [layer for layer in encoder_layers(network) if len(layer.output.shape) == 4][-1]
        pooled = keras.layers.GlobalAveragePooling2D()(deepest.output)
        self._network = keras.Model(network.input, pooled)
        self.description = read_description(folder)
        self.size = int(pooled.shape[-1])
        self._call = tf.function(self._pooled, reduce_retracing=True, autograph=False)

    def _pooled(self, pixels: Any) -> Any:
        return self._network(tf.cast(pixels, tf.float32), training=False)

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return (N, `size`) float32 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        embedded: NDArray[np.float32] = self._call(tf.constant(fitting_pixels(images, self.description))).numpy()
        return embedded
