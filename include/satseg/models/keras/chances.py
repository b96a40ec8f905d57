"""The random numbers of a training window: a function of the seed and the window's place in the training alone."""

from enum import IntEnum, auto
from typing import Any

from satseg.models.keras.runtime import tf


class Chance(IntEnum):
    """Which number decides what; new ones go last, so that what a seed gives stays the same."""

    TRANSPOSED = 0
    UPSIDE_DOWN = auto()
    MIRRORED = auto()
    CONTRAST = auto()
    BRIGHTNESS = auto()
    GAMMA = auto()
    SCALED = auto()
    SCALE = auto()
    CROPPED = auto()
    CROP = auto()
    CROP_ROW = auto()
    CROP_COL = auto()
    BLURRED = auto()
    BLUR = auto()
    HAZY = auto()
    HAZE = auto()
    HAZE_DIRECTION = auto()
    HIDDEN = auto()
    HIDDEN_SIDE = auto()
    HIDDEN_ROW = auto()
    HIDDEN_COL = auto()
    FIRST_BAND_GAIN = auto()


def chances(seed: Any, bands: int) -> Any:
    """Return numbers in 0..1, one for each `Chance` and the gain of each band.

    Args:
        seed: (2,) int64; the training's seed and the place of the draw.
        bands: of the window.
    """
    return tf.random.stateless_uniform((Chance.FIRST_BAND_GAIN + bands,), seed)


def signed(chance: Any) -> Any:
    """Return -1..1 for 0..1."""
    return 2.0 * chance - 1.0
