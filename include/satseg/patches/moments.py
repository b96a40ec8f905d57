"""Band means and deviations, added up window by window in float64."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CV2_TYPES = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each band, (C,) float64 in raw units."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def none(cls, bands: int) -> "Moments":
        """Return the moments of no pixel."""
        return cls(0, np.zeros(bands), np.zeros(bands))

    @classmethod
    def of(cls, image: NDArray[Any], valid: NDArray[np.bool_]) -> "Moments":
        """Return the moments of the valid pixels of an image (H, W, C)."""
        count = int(np.count_nonzero(valid))
        if count == 0:
            return cls.none(image.shape[2])
        if image.dtype.name not in CV2_TYPES:
            image = image.astype(np.float64)
        mean, std = cv2.meanStdDev(image, mask=None if count == valid.size else valid.view(np.uint8))
        return cls(count, mean[:, 0], std[:, 0] ** 2 * count)

    def __add__(self, other: "Moments") -> "Moments":
        """Merge (Chan, Golub & LeVeque 1979, "Updating formulae …", eq. 2.1): exact without a second pass."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        squares = self.squares + other.squares + step**2 * (self.count * other.count / count)
        return Moments(count, mean, squares)

    def std(self) -> NDArray[np.float64]:
        """Return the population standard deviation, (C,)."""
        deviations: NDArray[np.float64] = np.sqrt(self.squares / max(self.count, 1))
        return deviations
