"""Int8 by calibration, with the first operations of the network left in float where int8 costs too much there."""

import csv
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.models.keras.runtime import tf


class Int8Quantiser:
    """A calibrated network, to be quantised again and again with more or fewer operations left in float.

    Calibration (the ranges of all results over the windows) runs once. Selective quantisation after
    https://www.tensorflow.org/lite/performance/quantization_debugger. What is left in float are the first operations:
    errors of the encoder add up on their way, and no single operation makes most of them (measured, ADR 31).
    """

    def __init__(self, converter: Any, calibration: NDArray[np.float32]) -> None:
        """Calibrate.

        Args:
            converter: TFLite converter of the float network.
            calibration: (N, H, W, C) raw pixels.
        """
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _one_by_one(calibration)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the debugger uses TensorFlow's own interpreter
            self._debugger = tf.lite.experimental.QuantizationDebugger(
                converter=converter, debug_dataset=lambda: _one_by_one(calibration[:1])
            )
            self._debugger.run()
        table = io.StringIO()
        self._debugger.layer_statistics_dump(table)
        table.seek(0)
        # NumericVerify operations stand in the order of the network, and so do the lines about them
        self._names = [line["tensor_name"] for line in csv.DictReader(table)]

    @property
    def operations(self) -> int:
        """How many operations are quantised when none is left in float."""
        return len(self._names)

    def model(self, in_float: int) -> bytes:
        """Return the TFLite file with the first `in_float` operations left in float."""
        self._debugger._debug_options.denylisted_nodes = self._names[:in_float] or None  # the setter would debug again
        quantised: bytes = self._debugger.get_nondebug_quantized_model()
        return quantised


def _one_by_one(windows: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for window in windows:
        yield [window[None]]
