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


class LitertSegmenter:
    """A LiteRT interpreter; any window size and any batch, one call at a time.

    Windows go through one by one: batches are no faster on processors, and each batch size would need its own plan.
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
        self._size: tuple[int, int] | None = None
        self._lock = Lock()

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (N, H, W, K) float32 in 0..1 for raw pixels (N, H, W, C); H and W multiples of 32.

        Raises:
            BadDataError: the array has another shape than the model takes.
        """
        pixels = fitting_pixels(images, self.description)
        probabilities = np.empty((*pixels.shape[:3], self.description.channels), np.float32)
        with self._lock:
            self._plan(pixels.shape[1:3])
            for window, result in zip(pixels, probabilities, strict=True):
                self._interpreter.set_tensor(self._input, window[None].astype(np.float32, copy=False))
                self._interpreter.invoke()
                result[...] = self._interpreter.get_tensor(self._output)[0]
        return probabilities

    def _plan(self, size: tuple[int, int]) -> None:
        if size != self._size:
            self._interpreter.resize_tensor_input(self._input, (1, *size, len(self.description.bands)))
            self._interpreter.allocate_tensors()
            self._size = size
