"""The engines that can run a model, behind one interface: NumPy in, NumPy out, whatever computes between."""

from pathlib import Path
from typing import Literal, get_args

from satseg.errors import BadDataError, ConfigurationError
from satseg.models.interface import MODEL_FILE, Segmenter

Engine = Literal["tf", "onnx", "litert", "litert_int8"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
ONNX_FILE = "model.onnx"
TFLITE_FILE = "model.tflite"
ENGINE_FILES: dict[Engine, str] = {
    "tf": MODEL_FILE,
    "onnx": ONNX_FILE,
    "litert": TFLITE_FILE,
    "litert_int8": TFLITE_FILE,
}


def load_engine(folder: Path, engine: str, *, threads: int | None = None) -> Segmenter:
    """Load a model folder with an engine; raw pixels in, normalisation inside, probabilities out.

    Args:
        folder: holds model.json and the engine's file: model.keras, model.onnx or model.tflite.
        engine: "tf", "onnx", "litert" or "litert_int8".
        threads: processor threads of one call; None takes all. TensorFlow reads it once in a process.

    Raises:
        ConfigurationError: there is no engine of that name.
        BadDataError: a file is missing or broken.
    """
    if engine not in ENGINE_FILES:
        raise ConfigurationError(f"There is no engine '{engine}'; there are {', '.join(ENGINES)}.")
    file = folder / ENGINE_FILES[engine]
    if not file.is_file():
        raise BadDataError(f"{file} is missing: the model has no file for engine '{engine}'. Make it: satseg export.")
    if engine == "tf":
        from satseg.models.keras.load import load_segmenter  # TensorFlow: seconds

        return load_segmenter(folder, threads=threads)
    if engine == "onnx":
        from satseg.models.onnx_engine import OnnxSegmenter

        return OnnxSegmenter(folder, threads)
    from satseg.models.litert_engine import LitertSegmenter

    return LitertSegmenter(folder, threads)
