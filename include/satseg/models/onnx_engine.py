"""A model as an ONNX file, run by ONNX Runtime on the processor."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.models.interface import ModelDescription
from satseg.models.pixels import fitting_pixels, read_description

_ERRORS_ONLY = 3


class OnnxSegmenter:
    """An ONNX Runtime session; any window size and any batch, and calls from several threads."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Load model.onnx and model.json of a folder.

        Raises:
            BadDataError: a file is missing or broken.
        """
        import onnxruntime

        self.description: ModelDescription = read_description(folder)
        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)  # the converter's attributes are old but right
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        # its arena keeps the largest call's memory for ever, and calls differ in size
        options.enable_cpu_mem_arena = False
        path = folder / "model.onnx"
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of its own for each kind of broken file
            reason = str(error).splitlines()[0][:300]
            raise BadDataError(f"{path} cannot be loaded by ONNX Runtime: {reason}. Export the model again.") from error
        self._input: str = self._session.get_inputs()[0].name

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, H, W, K) float32 in 0..1 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        pixels = fitting_pixels(images, self.description).astype(np.float32, copy=False)
        probabilities: NDArray[np.float32] = self._session.run(None, {self._input: pixels})[0]
        return probabilities
