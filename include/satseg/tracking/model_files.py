"""A trained model as an MLflow model: a self-contained pyfunc beside model.keras and model.json."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from satseg.tracking.connection import mlflow_module

MODEL_FILE = "model.keras"
DESCRIPTION_FILE = "model.json"
_NEEDED = ("mlflow", "tensorflow", "tf-keras", "numpy")


def _signature(description: Mapping[str, Any]) -> Any:
    import numpy as np
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    classes = len(description["classes"])
    pixels = TensorSpec(np.dtype(description["dtype"]), (-1, -1, -1, len(description["bands"])))
    probabilities = TensorSpec(np.dtype("float32"), (-1, -1, -1, 1 if classes == 1 else classes + 1))
    return ModelSignature(Schema([pixels]), Schema([probabilities]))


def log_model(folder: Path, description: Mapping[str, Any], input_example: Any) -> str:
    """Log the model of `folder` to the active run and return its URI (`models:/m-…`).

    Args:
        folder: holds model.keras and model.json.
        description: content of model.json.
        input_example: (N, H, W, C) raw pixels in the description's dtype.
    """
    mlflow = mlflow_module()
    code = Path(__file__).with_name("pyfunc_model.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints on type annotations that NumPy models cannot have
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code),
            artifacts={"model": str(folder / MODEL_FILE), "description": str(folder / DESCRIPTION_FILE)},
            # without explicit requirements MLflow runs the model to find them, which takes 40 times as long
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDED],
            signature=_signature(description),
            input_example=input_example,
            metadata={"architecture": description["architecture"], "backbone": description["backbone"]},
        )
    return str(info.model_uri)
