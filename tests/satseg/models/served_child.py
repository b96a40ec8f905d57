"""Predicts with stored models in a process in which satseg cannot be imported.

python served_child.py PIXELS.npz RESULT.npz MODEL…
"""

import importlib.abc
import sys
from pathlib import Path

import mlflow
import numpy as np


class Absent(importlib.abc.MetaPathFinder):
    """Stands for a machine without satseg and segmentation_models."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.startswith(("satseg", "segmentation_models", "classification_models")):
            raise ModuleNotFoundError(f"{name} is not installed here")


sys.meta_path.insert(0, Absent())
pixels, result, *models = sys.argv[1:]
with np.load(pixels) as given:
    inputs = dict(given)
predicted = {}
for folder in models:
    model = mlflow.pyfunc.load_model(folder)
    predicted[Path(folder).name] = model.predict(inputs[Path(folder).name])
assert not any(name.startswith("satseg") for name in sys.modules)
np.savez(result, **predicted)
