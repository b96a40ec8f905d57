"""Test-time augmentation: a model sees each window mirrored and turned, and the mean of its answers counts."""

from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.inference.blend import Predict

Symmetry = tuple[int, bool]  # quarter turns, mirrored first

SYMMETRIES: dict[str, tuple[Symmetry, ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "turns": tuple((turns, False) for turns in range(4)),
    "all": tuple(product(range(4), (False, True))),
}


def with_symmetries(predict: Predict, name: str) -> Predict:
    """Return a prediction that is the mean over a set of symmetries of the square; `name` is a key of SYMMETRIES."""
    symmetries = SYMMETRIES[name]
    if len(symmetries) == 1:
        return predict

    def predicted(images: NDArray[Any]) -> NDArray[np.float32]:
        answers = (seen_through(predict, images, *symmetry) for symmetry in symmetries)
        mean = reduce(np.add, answers) / np.float32(len(symmetries))
        return mean.astype(np.float32, copy=False)

    return predicted


def seen_through(predict: Predict, images: NDArray[Any], turns: int, mirrored: bool) -> NDArray[np.float32]:
    """Predict images that are mirrored, then turned, and bring the answer back."""
    turned = np.rot90(images[:, :, ::-1] if mirrored else images, turns, (1, 2))
    answer = np.rot90(predict(np.ascontiguousarray(turned)), -turns, (1, 2))
    return answer[:, :, ::-1] if mirrored else answer
