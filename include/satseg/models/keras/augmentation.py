"""Random changes of training windows inside the TensorFlow graph; docs/augmentation.md shows each."""

from collections.abc import Callable
from typing import Any, NamedTuple

from satseg.config.training import TrainingConfig
from satseg.models.interface import IGNORED
from satseg.models.keras.chances import Chance
from satseg.models.keras.geometry import geometry
from satseg.models.keras.photometry import PixelRange, photometry, weather
from satseg.models.keras.rows import as_image, as_rows, row_of
from satseg.models.keras.runtime import tf


class Augmentation(NamedTuple):
    """What happens to a window, and then to the batch it is in; both are functions of their arguments alone.

    Attributes:
        window: (image (H, W, C) float32, mask (H, W) uint8, chance) → both changed.
        batch: (images (N, H, W, C) float32, chance (N, …)) → images changed; values are changed faster in batches.
    """

    window: Callable[[Any, Any, Any], tuple[Any, Any]]
    batch: Callable[[Any, Any], Any]


def augmentation(config: TrainingConfig, pixels: PixelRange, mean: tuple[float, ...]) -> Augmentation:
    """Return the changes a training asks for.

    Args:
        config: which changes, and how far they go.
        pixels: what pixel values mean.
        mean: per band; shown where a part of the window is hidden.
    """
    move, blur = geometry(config), weather(config, pixels)
    hide = "cutout" in config.augmentations

    def window(image: Any, mask: Any, chance: Any) -> tuple[Any, Any]:
        image, mask = move(image, mask, chance)
        image = blur(image, chance)
        if not hide:
            return image, mask
        chosen = chance[Chance.HIDDEN] < config.strength.chance
        hidden: tuple[Any, Any] = tf.cond(
            chosen, lambda: _with_hidden_square(image, mask, chance, config, mean), lambda: (image, mask)
        )
        return hidden

    return Augmentation(window, photometry(config, pixels))


def _with_hidden_square(
    image: Any, mask: Any, chance: Any, config: TrainingConfig, mean: tuple[float, ...]
) -> tuple[Any, Any]:
    """Hide a square behind the mean colour; the loss ignores it, for nothing can be learnt where nothing is seen.

    Source: DeVries and Taylor 2017, Improved regularization of convolutional neural networks with cutout.
    """
    half = 0.5 * config.strength.cutout * chance[Chance.HIDDEN_SIDE]

    def within(centre: Any, size: int) -> Any:
        places = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.abs(places - centre) < half

    height, width, bands = image.shape
    rows, cols = within(chance[Chance.HIDDEN_ROW], height), within(chance[Chance.HIDDEN_COL], width)
    colour = row_of(tf.constant(mean, image.dtype), width)
    shown = tf.where(rows[:, tf.newaxis] & tf.repeat(cols, bands)[tf.newaxis], colour, as_rows(image))
    hidden = rows[:, tf.newaxis] & cols[tf.newaxis]
    return as_image(shown, bands), tf.where(hidden, tf.constant(IGNORED, mask.dtype), mask)
