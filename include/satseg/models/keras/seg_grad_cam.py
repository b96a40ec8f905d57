"""Seg-Grad-CAM: which places of a window speak for a class."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.errors import ConfigurationError
from satseg.models.keras.architectures import encoder_layers
from satseg.models.keras.load import KerasSegmenter, load_network
from satseg.models.keras.runtime import keras, tf
from satseg.models.pixels import fitting_pixels, read_description

_LEAST = 1e-7


class KerasExplainer:
    """A saved model that says where it looks.

    Source: Vinogradova, Dibrov & Myers, "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class
    Activation Mapping", AAAI 2020, equations 2 and 3. The logits of a set M of pixels are summed; their gradient,
    averaged over each feature map A^k, is the weight of the map; the weighted sum of the maps is cut off at 0. Here M
    is all pixels of a window that are mapped as the class.
    """

    def __init__(self, folder: Path, class_id: int, threshold: float, stride: int = 32) -> None:
        """Load a model folder.

        Args:
            folder: the model's.
            class_id: 1 for the first class.
            threshold: probability from which a pixel belongs to the class of a one-class model.
            stride: pixels per step of the feature maps, 2 … 32; 32 is the end of the encoder.

        Raises:
            BadDataError: a file is missing or broken.
            ConfigurationError: the encoder has no maps of this stride.
        """
        network = load_network(folder)
        self.description = read_description(folder)
        outputs = [_features(network, stride), _logits(network), network.output]
        self._network = keras.Model(network.input, outputs)
        self._channel = 0 if self.description.channels == 1 else class_id
        self._threshold = threshold
        self._call = tf.function(self._explained, reduce_retracing=True, autograph=False)
        self._plain = KerasSegmenter(network, self.description)

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, H, W, K) for raw pixels (N, H, W, C).

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        return self._plain.predict(images)

    def explain(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (N, H, W, K) and the class's map (N, H, W) in 0..1 for raw pixels (N, H, W, C).

        Each window's map ends at 1; it is 0 everywhere where no pixel is mapped as the class.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        probabilities, maps = self._call(tf.constant(fitting_pixels(images, self.description)))
        return probabilities.numpy(), maps.numpy()

    def _explained(self, pixels: Any) -> Any:
        shown = tf.cast(pixels, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(shown)  # so that what is made of it is recorded, frozen layers or not
            features, logits, probabilities = self._network(shown, training=False)
            wanted = tf.stop_gradient(self._mapped(probabilities))
            evidence = tf.reduce_sum(logits[..., self._channel] * wanted)  # windows do not mix: one sum serves all
        weights = tf.reduce_mean(tape.gradient(evidence, features), axis=(1, 2), keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1, keepdims=True))
        maps = tf.image.resize(maps, tf.shape(pixels)[1:3], "bilinear")[..., 0]
        return probabilities, maps / tf.maximum(tf.reduce_max(maps, axis=(1, 2), keepdims=True), _LEAST)

    def _mapped(self, probabilities: Any) -> Any:
        if self.description.channels == 1:
            return tf.cast(probabilities[..., 0] >= self._threshold, tf.float32)
        return tf.cast(tf.argmax(probabilities, axis=-1) == self._channel, tf.float32)


def _features(network: Any, stride: int) -> Any:
    """Return the encoder's last feature maps of a stride."""
    encoder = [layer for layer in encoder_layers(network) if len(layer.output.shape) == 4]
    side = 256
    shapes = keras.Model(network.input, [layer.output for layer in encoder]).compute_output_shape(
        (1, side, side, network.input.shape[-1])
    )
    found = {side // shape[1]: layer.output for layer, shape in zip(encoder, shapes, strict=True) if shape[1]}
    if stride not in found:
        raise ConfigurationError(f"The encoder has no maps of stride {stride}; it has {sorted(found)}.")
    return found[stride]


def _logits(network: Any) -> Any:
    """Return what goes into the last activation, whose gradient does not vanish where the model is sure."""
    last = network.layers[-1]
    if isinstance(last, keras.layers.Activation):
        return last.input
    chances = tf.clip_by_value(network.output, _LEAST, 1 - _LEAST)
    return tf.math.log(chances) - tf.math.log(1 - chances)
