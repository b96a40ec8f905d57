"""Random changes of training windows, inside the TensorFlow graph, each a function of its seed alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from satseg.config.training import TrainingConfig
from satseg.models.keras.runtime import tf

_SIX_SIGMA = 6.0


@dataclass(frozen=True)
class PixelRange:
    """What pixel values mean: span of the full range per band, and bounds of the type (none for floats)."""

    span: tuple[float, ...]
    bounds: tuple[float, float] | None

    @classmethod
    def of(cls, dtype: str, std: Sequence[float]) -> "PixelRange":
        """Return 0..255 for uint8; six standard deviations for other types, which rarely use their whole range."""
        kind = np.dtype(dtype)
        span = (255.0,) * len(std) if kind == np.uint8 else tuple(_SIX_SIGMA * deviation for deviation in std)
        if kind.kind not in "iu":
            return cls(span, None)
        return cls(span, (float(np.iinfo(kind).min), float(np.iinfo(kind).max)))


def _if(chosen: Any, change: Callable[[Any], Any], image: Any, mask: Any) -> tuple[Any, Any]:
    changed: tuple[Any, Any] = tf.cond(chosen, lambda: (change(image), change(mask)), lambda: (image, mask))
    return changed


def geometry(config: TrainingConfig) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Return a function (image (H, W, C), mask (H, W) uint8, chance (5,)) → both flipped and turned alike."""
    flip, rotate = "flip" in config.augmentations, "rotate90" in config.augmentations

    def change(image: Any, mask: Any, chance: Any) -> tuple[Any, Any]:
        if not (flip or rotate):
            return image, mask
        # a transposition and two reversals, each done or not, make all eight positions of a square
        transposed, upside_down, mirrored = chance[0] < 0.5, chance[1] < 0.5, chance[2] < 0.5
        if not flip:  # quarter turns alone: an even number of the three
            mirrored = tf.math.logical_xor(transposed, upside_down)
        mask = tf.cast(mask[..., tf.newaxis], image.dtype)  # oneDNN complains about integers on many processors
        if rotate:
            image, mask = _if(transposed, lambda window: tf.transpose(window, (1, 0, 2)), image, mask)
        image, mask = _if(upside_down, lambda window: tf.reverse(window, (0,)), image, mask)
        image, mask = _if(mirrored, lambda window: tf.reverse(window, (1,)), image, mask)
        return image, tf.cast(mask[..., 0], tf.uint8)

    return change


def photometry(config: TrainingConfig, pixels: PixelRange) -> Callable[[Any, Any], Any]:
    """Return a function (images (N, H, W, C) float32, chance (N, 5)) → images with other contrast and brightness.

    Contrast turns about each image's own mean; values stay within the pixel type's bounds.
    """
    contrast = config.contrast if "contrast" in config.augmentations else 0.0
    brightness = config.brightness if "brightness" in config.augmentations else 0.0

    def change(images: Any, chance: Any) -> Any:
        if contrast == brightness == 0.0:
            return images
        signed = (2.0 * chance - 1.0)[:, tf.newaxis, tf.newaxis, :]
        factor = 1.0 + contrast * signed[..., 3:4]
        average = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        shift = average * (1.0 - factor) + brightness * signed[..., 4:5] * tf.constant(pixels.span, tf.float32)
        images = images * factor + shift
        return images if pixels.bounds is None else tf.clip_by_value(images, *pixels.bounds)

    return change


def chances(seed: Any) -> Any:
    """Return five numbers in 0..1 that depend on the seed (2,) int64 alone."""
    return tf.random.stateless_uniform((5,), seed)
