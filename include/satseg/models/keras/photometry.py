"""Changes of pixel values: haze and blur of single windows; gamma, gains, contrast and brightness of whole batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import numpy as np

from satseg.config.training import TrainingConfig
from satseg.models.keras.chances import Chance, signed
from satseg.models.keras.rows import as_image, as_rows, row_of
from satseg.models.keras.runtime import tf

_SIGMAS = 3.0


@dataclass(frozen=True)
class PixelRange:
    """What pixel values mean, per band in raw units, and bounds of the type (none for floats).

    Attributes:
        dark: value of black.
        span: from black to white.
        airlight: what thick haze looks like.
        bounds: least and largest value of the type.
    """

    dark: tuple[float, ...]
    span: tuple[float, ...]
    airlight: tuple[float, ...]
    bounds: tuple[float, float] | None

    @classmethod
    def of(cls, dtype: str, mean: Sequence[float], std: Sequence[float]) -> "PixelRange":
        """Return 0..255 for uint8; mean ± 3 deviations for other types, which rarely use their whole range."""
        kind = np.dtype(dtype)
        deviation = np.array([value or 1.0 for value in std])  # a constant band has none
        middle, spread = np.array(mean, float), _SIGMAS * deviation
        bounds = (float(np.iinfo(kind).min), float(np.iinfo(kind).max)) if kind.kind in "iu" else None
        dark, span = middle - spread, 2.0 * spread
        if kind == np.uint8:
            dark, span = 0.0 * dark, 0.0 * span + 255.0
        elif bounds is not None:
            dark = np.maximum(dark, bounds[0])
        bright = np.minimum(middle + 2.0 * deviation, dark + span)
        return cls(tuple(dark.tolist()), tuple(span.tolist()), tuple(bright.tolist()), bounds)

    def clipped(self, values: Any) -> Any:
        """Return values within the type's bounds."""
        return values if self.bounds is None else tf.clip_by_value(values, *self.bounds)


def weather(config: TrainingConfig, pixels: PixelRange) -> Callable[[Any, Any], Any]:
    """Return a function (image (H, W, C) float32, chance) → the image with haze in front of it and out of focus."""
    strength = config.strength

    def change(image: Any, chance: Any) -> Any:
        if "haze" in config.augmentations:
            hazy, clear = chance[Chance.HAZY] < strength.chance, image
            image = tf.cond(hazy, lambda: _hazed(clear, chance, strength.haze, pixels), lambda: clear)
        if "blur" in config.augmentations:
            blurred, sharp = chance[Chance.BLURRED] < strength.chance, image
            image = tf.cond(blurred, lambda: _blurred(sharp, strength.blur_px, chance[Chance.BLUR]), lambda: sharp)
        return image

    return change


def _hazed(image: Any, chance: Any, thickest: float, pixels: PixelRange) -> Any:
    """Mix in airlight, more of it towards one side: I = J·t + A·(1 - t).

    Source: Narasimhan and Nayar 2002, Vision and the atmosphere, section 3 (Koschmieder's law).
    """
    height, width, bands = image.shape
    angle = 2.0 * pi * chance[Chance.HAZE_DIRECTION]
    down = tf.cos(angle) * tf.linspace(-1.0, 1.0, height)[:, tf.newaxis]
    across = tf.sin(angle) * tf.repeat(tf.linspace(-1.0, 1.0, width), bands)[tf.newaxis]
    lost = thickest * chance[Chance.HAZE] * (0.75 + 0.25 / 2.0**0.5 * (down + across))
    rows = as_rows(image)
    return as_image(rows + lost * (row_of(tf.constant(pixels.airlight, image.dtype), width) - rows), bands)


def _blurred(image: Any, widest_px: float, chance: Any) -> Any:
    """Convolve with a Gaussian of up to `widest_px`, mirrored at the edges."""
    radius = ceil(_SIGMAS * widest_px)
    distances = tf.range(-radius, radius + 1, dtype=image.dtype)
    taps = tf.exp(-0.5 * (distances / tf.maximum(widest_px * chance, 1e-3)) ** 2)
    taps /= tf.reduce_sum(taps)
    return _convolved(_convolved(image, taps, 0), taps, 1)


def _convolved(image: Any, taps: Any, axis: int) -> Any:
    radius, rows = taps.shape[0] // 2, as_rows(image)
    edges = [[radius, radius] if place == axis else [0, 0] for place in range(3)]
    padded = as_rows(tf.pad(image, edges, mode="SYMMETRIC"))
    pixel = image.shape[-1] if axis == 1 else 1

    def shifted(distance: int) -> Any:
        begin = [0, 0]
        begin[axis] = (radius + distance) * pixel
        return tf.slice(padded, begin, rows.shape)

    total = taps[radius] * rows
    for distance in range(1, radius + 1):
        total += taps[radius + distance] * (shifted(-distance) + shifted(distance))
    return as_image(total, image.shape[-1])


def photometry(config: TrainingConfig, pixels: PixelRange) -> Callable[[Any, Any], Any]:
    """Return a function (images (N, H, W, C) float32, chance (N, …)) → images of another exposure.

    Gamma first, then each band's gain, contrast about the image's own mean, brightness; values stay within the type's
    bounds.
    """
    chosen, strength = config.augmentations, config.strength
    contrast = config.contrast if "contrast" in chosen else 0.0
    brightness = config.brightness if "brightness" in chosen else 0.0
    gain = strength.band_gain if "band_gain" in chosen else 0.0
    gamma = strength.gamma if "gamma" in chosen else 0.0

    def change(images: Any, chance: Any) -> Any:
        if contrast == brightness == gain == gamma == 0.0:
            return images
        width, bands = images.shape[-2:]
        about, rows = signed(chance)[:, tf.newaxis, :], as_rows(images)
        if gamma:
            rows = _with_gamma(rows, 2.0 ** (gamma * about[..., Chance.GAMMA, tf.newaxis]), pixels, width)
        factor = 1.0 + gain * about[..., Chance.FIRST_BAND_GAIN :]
        shift = tf.zeros_like(factor)
        if contrast or brightness:
            stretch = 1.0 + contrast * about[..., Chance.CONTRAST, tf.newaxis]
            # of each band, rows first: many times faster than over both axes at once
            average = tf.reduce_mean(as_image(tf.reduce_mean(rows, axis=1), bands), axis=1)[:, tf.newaxis]
            offset = brightness * about[..., Chance.BRIGHTNESS, tf.newaxis] * tf.constant(pixels.span, tf.float32)
            shift = factor * average * (1.0 - stretch) + offset
            factor *= stretch
        return as_image(pixels.clipped(rows * row_of(factor, width) + row_of(shift, width)), bands)

    return change


def _with_gamma(rows: Any, exponent: Any, pixels: PixelRange, width: int) -> Any:
    dark, span = (row_of(tf.constant(part, tf.float32), width) for part in (pixels.dark, pixels.span))
    inside = tf.clip_by_value((rows - dark) / span, 1e-6, 1.0)
    # beyond black and white, where a power makes no sense, values stay
    return rows + (tf.exp(exponent * tf.math.log(inside)) - inside) * span  # tf.pow is four times slower
