"""A model as a LiteRT (TensorFlow Lite) file, run by XNNPACK on the processor; float or int8 inside."""

import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.models.interface import ModelDescription
from satseg.models.pixels import fitting_pixels, read_description

PIXELS_AT_ONCE = 4 * 256 * 256  # more is no faster, and takes more memory


class LitertSegmenter:
    """A LiteRT interpreter; any window size and any batch, one call at a time.

    Small windows go through several at a time: threads wait for each other after each operation, and less often so.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Load model.tflite and model.json of a folder.

        Raises:
            BadDataError: a file is missing or broken.
        """
        from ai_edge_litert.interpreter import Interpreter

        self.description: ModelDescription = read_description(folder)
        path = folder / "model.tflite"
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads or len(os.sched_getaffinity(0)))
            self._input: int = self._interpreter.get_input_details()[0]["index"]
            self._output: int = self._interpreter.get_output_details()[0]["index"]
        except (ValueError, RuntimeError, IndexError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0][:300]
            raise BadDataError(f"{path} cannot be loaded by LiteRT: {reason}. Export the model again.") from error
        self._shape: tuple[int, ...] = ()
        self._lock = Lock()

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, H, W, K) float32 in 0..1 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        pixels = fitting_pixels(images, self.description)
        probabilities = np.empty((*pixels.shape[:3], self.description.channels), np.float32)
        at_once = _at_once(*pixels.shape[:3])
        with self._lock:
            for start in range(0, len(pixels), at_once):
                windows = pixels[start : start + at_once].astype(np.float32, copy=False)
                self._plan(windows.shape)
                self._interpreter.set_tensor(self._input, windows)
                self._interpreter.invoke()
                probabilities[start : start + at_once] = self._interpreter.get_tensor(self._output)
        return probabilities

    def _plan(self, shape: tuple[int, ...]) -> None:
        if shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()
            self._shape = shape


def _at_once(windows: int, height: int, width: int) -> int:
    """Return how many windows go through together: equal groups, because each other size is planned anew."""
    most = max(1, PIXELS_AT_ONCE // (height * width))
    return next((size for size in range(min(most, windows), 0, -1) if windows % size == 0), 1)
