"""A network in the form that XNNPACK, which runs TFLite files on processors, is fastest with. Its values stay.

TFLite turns Keras' UpSampling2D into operations that compute the new size while the model runs. XNNPACK takes neither
them nor the resizing itself, so each upsampling cuts the network into two pieces that it cannot plan together. And a
batch normalisation that follows no convolution (residual networks that activate first) becomes a multiplication and an
addition, each a pass over the whole map, instead of one depthwise convolution.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from satseg.models.keras.runtime import keras, tf


class Repeat2x2(keras.layers.Layer):  # type: ignore[misc]
    """Repeat each pixel in two rows and two columns: (N, H, W, C) → (N, 2H, 2W, C)."""

    def call(self, pixels: Any) -> Any:
        """Return the same values as UpSampling2D(2, interpolation="nearest")."""
        return tf.nn.depth_to_space(tf.concat([pixels] * 4, axis=-1), 2)


def for_xnnpack(network: Any) -> Any:
    """Copy a functional network with other layers for doubling UpSampling2D and for lone batch normalisations."""
    lone = {layer.name for layer in network.layers if _is_lone_normalisation(layer)}
    copy = keras.models.clone_model(network, clone_function=_copier(lone))
    for layer in network.layers:
        if layer.name in lone:
            copy.get_layer(layer.name).set_weights(_scale_and_shift(layer))
        elif layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _copier(lone: set[str]) -> Callable[[Any], Any]:
    def copied(layer: Any) -> Any:
        if layer.name in lone:
            return keras.layers.DepthwiseConv2D(1, name=layer.name)
        if isinstance(layer, keras.layers.UpSampling2D) and layer.size == (2, 2) and layer.interpolation == "nearest":
            return Repeat2x2(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    return copied


def _is_lone_normalisation(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization) or len(layer.input_shape) != 4:
        return False
    before = layer.inbound_nodes[0].inbound_layers
    return not isinstance(before, keras.layers.Conv2D) or len(before.outbound_nodes) > 1


def _scale_and_shift(normalisation: Any) -> list[Any]:
    """Return kernel (1, 1, C, 1) and bias (C,) of the depthwise convolution that normalises alike."""
    scale = 1 / np.sqrt(normalisation.moving_variance.numpy() + normalisation.epsilon)
    if normalisation.gamma is not None:
        scale *= normalisation.gamma.numpy()
    shift = -normalisation.moving_mean.numpy() * scale
    if normalisation.beta is not None:
        shift += normalisation.beta.numpy()
    return [scale[None, None, :, None], shift]
