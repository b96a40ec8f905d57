"""Random changes of a training window, inside the TensorFlow graph, each a function of its seed alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from satseg.config.project import TrainingConfig
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


def _flip(window: Any, chance: Any) -> Any:
    window = tf.cond(chance[0] < 0.5, lambda: window, lambda: window[:, ::-1])
    return tf.cond(chance[1] < 0.5, lambda: window, lambda: window[::-1])


def augmentation(config: TrainingConfig, pixels: PixelRange) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Return a function (image (H, W, C) float32, mask (H, W) uint8, seed (2,) int64) → changed image and mask."""
    chosen = set(config.augmentations)

    def augment(image: Any, mask: Any, seed: Any) -> tuple[Any, Any]:
        chance = tf.random.stateless_uniform((5,), seed)
        window = tf.concat([image, tf.cast(mask, tf.float32)[..., tf.newaxis]], axis=-1)
        if "flip" in chosen:
            window = _flip(window, chance[:2])
        if "rotate90" in chosen:
            window = tf.image.rot90(window, tf.cast(chance[2] * 4.0, tf.int32))
        image, mask = window[..., :-1], tf.cast(window[..., -1], tf.uint8)
        if "contrast" in chosen:
            average = tf.reduce_mean(image, axis=(0, 1), keepdims=True)
            image = average + (image - average) * (1.0 + config.contrast * (2.0 * chance[3] - 1.0))
        if "brightness" in chosen:
            image += config.brightness * (2.0 * chance[4] - 1.0) * tf.constant(pixels.span, tf.float32)
        if pixels.bounds is not None and chosen & {"brightness", "contrast"}:
            image = tf.clip_by_value(image, *pixels.bounds)
        return image, mask

    return augment
