"""Doubling of rows and columns in a form that XNNPACK runs for any size of window.

TFLite turns Keras' UpSampling2D into operations that compute the new size while the model runs. XNNPACK takes neither
them nor the resizing itself, so each upsampling cuts the network into two pieces that it cannot plan together.
"""

from typing import Any

from satseg.models.keras.runtime import keras, tf


class Repeat2x2(keras.layers.Layer):  # type: ignore[misc]
    """Repeat each pixel in two rows and two columns: (N, H, W, C) → (N, 2H, 2W, C)."""

    def call(self, pixels: Any) -> Any:
        """Return the same values as UpSampling2D(2, interpolation="nearest")."""
        return tf.nn.depth_to_space(tf.concat([pixels] * 4, axis=-1), 2)


def with_plannable_upsampling(network: Any) -> Any:
    """Copy a functional network with each doubling UpSampling2D as a Repeat2x2; its values are the same."""

    def copied(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.UpSampling2D) and layer.size == (2, 2) and layer.interpolation == "nearest":
            return Repeat2x2(name=layer.name, dtype=config["dtype"])
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(network, clone_function=copied)
    copy.set_weights(network.get_weights())
    return copy
