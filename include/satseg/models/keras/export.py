"""A trained network as a file for another engine, normalisation inside, raw pixels in as float32."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.models.keras.load import load_network
from satseg.models.keras.quantise import Int8Quantiser
from satseg.models.keras.runtime import tf
from satseg.models.keras.xnnpack import for_xnnpack

OPSET = 17


def inference_function(network: Any) -> Any:
    """Return the network as a tf.function that learns nothing."""
    return tf.function(lambda pixels: network(pixels, training=False), autograph=False)


def write_onnx(folder: Path, target: Path) -> None:
    """Convert the model of a folder to ONNX for windows of any size.

    Raises:
        BadDataError: the model cannot be loaded.
    """
    import tf2onnx

    network = load_network(folder)
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name="pixels")]
    model, _ = tf2onnx.convert.from_function(inference_function(network), signature, opset=OPSET)
    target.write_bytes(model.SerializeToString())


def converter(network: Any) -> Any:
    """Return a TFLite converter for one window of any size; the interpreter plans anew when the size changes."""
    network = for_xnnpack(network)
    shape = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="pixels")
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [inference_function(network).get_concrete_function(shape)], network
    )


def write_tflite(folder: Path, target: Path, half: bool) -> None:
    """Convert the model of a folder to TFLite; with `half` the weights are stored as float16 and used as float32.

    Raises:
        BadDataError: the model cannot be loaded.
    """
    made = converter(load_network(folder))
    if half:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.target_spec.supported_types = [tf.float16]
    target.write_bytes(made.convert())


def int8_quantiser(folder: Path, calibration: NDArray[Any]) -> Int8Quantiser:
    """Measure the ranges of all operations of the model of a folder, ready to be quantised.

    Args:
        folder: the model's.
        calibration: (N, H, W, C) raw pixels of windows like those to come.

    Raises:
        BadDataError: the model cannot be loaded.
    """
    return Int8Quantiser(converter(load_network(folder)), calibration.astype(np.float32))
