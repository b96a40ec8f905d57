"""Are the weights of two Keras files the same? Read without TensorFlow."""

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError

WEIGHTS_FILE = "model.weights.h5"


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .keras file by their path in it.

    Raises:
        BadDataError: it is not a Keras model.
    """
    import h5py  # type: ignore[import-untyped]

    found: dict[str, NDArray[Any]] = {}

    def add(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            found[name] = np.asarray(entry)

    try:
        with ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS_FILE)), "r") as weights:
            weights.visititems(add)
    except (OSError, KeyError, BadZipFile) as error:
        raise BadDataError(f"{path} is no Keras model ({error}).") from error
    return found


def compare_weights(first: Path, second: Path) -> tuple[int, float]:
    """Return how many numbers two .keras files hold and their largest difference; 0.0 means the same bits.

    Raises:
        BadDataError: they are not of the same network.
    """
    ours, theirs = read_weights(first), read_weights(second)
    if {name: array.shape for name, array in ours.items()} != {name: array.shape for name, array in theirs.items()}:
        raise BadDataError(f"{first} and {second} are not of the same network.")
    differences = [_difference(array, theirs[name]) for name, array in ours.items() if array.size]
    return sum(array.size for array in ours.values()), max(differences, default=0.0)


def _difference(first: NDArray[Any], second: NDArray[Any]) -> float:
    if first.tobytes() == second.tobytes():
        return 0.0
    largest = float(np.nanmax(np.abs(first.astype(np.float64) - second.astype(np.float64)), initial=0.0))
    return largest or float(np.finfo(np.float64).tiny)  # other bits, such as NaN or -0.0, are another weight
