"""Changes that move pixels, image and mask alike: flips, quarter turns, scale, crop."""

from collections.abc import Callable
from typing import Any

from satseg.config.training import TrainingConfig
from satseg.models.keras.chances import Chance, signed
from satseg.models.keras.rows import as_image, as_rows
from satseg.models.keras.runtime import tf

Windows = tuple[Any, Any]


def geometry(config: TrainingConfig) -> Callable[[Any, Any, Any], Windows]:
    """Return a function (image (H, W, C) float32, mask (H, W) uint8, chance) → both moved alike."""
    turn, zoom = _turn(config), _zoom(config)

    def change(image: Any, mask: Any, chance: Any) -> Windows:
        return zoom(*turn(image, mask, chance), chance)

    return change


def _if(chosen: Any, change: Callable[[Any], Any], image: Any, mask: Any) -> Windows:
    changed: Windows = tf.cond(chosen, lambda: (change(image), change(mask)), lambda: (image, mask))
    return changed


def _turn(config: TrainingConfig) -> Callable[[Any, Any, Any], Windows]:
    flip, rotate = "flip" in config.augmentations, "rotate90" in config.augmentations

    def change(image: Any, mask: Any, chance: Any) -> Windows:
        if not (flip or rotate):
            return image, mask
        # a transposition and two reversals, each done or not, make all eight positions of a square
        transposed = chance[Chance.TRANSPOSED] < 0.5
        upside_down, mirrored = chance[Chance.UPSIDE_DOWN] < 0.5, chance[Chance.MIRRORED] < 0.5
        if not flip:  # quarter turns alone: an even number of the three
            mirrored = tf.math.logical_xor(transposed, upside_down)
        mask = tf.cast(mask[..., tf.newaxis], image.dtype)  # oneDNN complains about integers on many processors
        if rotate:
            image, mask = _if(transposed, lambda window: tf.transpose(window, (1, 0, 2)), image, mask)
        image, mask = _if(upside_down, lambda window: tf.reverse(window, (0,)), image, mask)
        image, mask = _if(mirrored, lambda window: tf.reverse(window, (1,)), image, mask)
        return image, tf.cast(mask[..., 0], tf.uint8)

    return change


def _zoom(config: TrainingConfig) -> Callable[[Any, Any, Any], Windows]:
    """Return the change of scale and crop: one resampling, whatever happens; beyond the edge the window is mirrored."""
    strength = config.strength
    scale, crop = "scale" in config.augmentations, "crop" in config.augmentations

    def change(image: Any, mask: Any, chance: Any) -> Windows:
        # output position p comes from ratio · p + first, in pixels from the upper left corner of the window
        side = tf.cast(tf.shape(mask)[0], tf.float32)
        ratio, row, col, chosen = tf.constant(1.0), tf.constant(0.0), tf.constant(0.0), tf.constant(False)
        if crop:
            cropped = chance[Chance.CROPPED] < strength.chance
            away = tf.where(cropped, strength.crop * chance[Chance.CROP], 0.0)
            ratio = 1.0 - away
            row, col = away * side * chance[Chance.CROP_ROW], away * side * chance[Chance.CROP_COL]
            chosen = cropped
        if scale:
            scaled = chance[Chance.SCALED] < strength.chance
            part = tf.where(scaled, (1.0 + strength.scale) ** signed(chance[Chance.SCALE]), 1.0)
            aside = ratio * side * (1.0 - part) / 2.0
            ratio, row, col = ratio * part, row + aside, col + aside
            chosen = tf.logical_or(chosen, scaled)
        if not (scale or crop):
            return image, mask
        resampled: Windows = tf.cond(chosen, lambda: _resampled(image, mask, ratio, row, col), lambda: (image, mask))
        return resampled

    return change


def _resampled(image: Any, mask: Any, ratio: Any, row: Any, col: Any) -> Windows:
    """Return the image resampled bilinearly and the mask by its nearest pixel, one axis after the other."""
    size, bands = image.shape[0], image.shape[-1]
    for axis, first in ((0, row), (1, col)):
        place = ratio * (tf.range(size, dtype=tf.float32) + 0.5) + first - 0.5  # counted from pixel centres
        before = tf.floor(place)
        low = tf.gather(image, _mirrored(before, size), axis=axis)
        high = tf.gather(image, _mirrored(before + 1.0, size), axis=axis)
        part = tf.repeat(place - before, bands)[tf.newaxis] if axis else (place - before)[:, tf.newaxis]
        low, high = as_rows(low), as_rows(high)
        image = as_image(low + part * (high - low), bands)
        mask = tf.gather(mask, _mirrored(tf.floor(place + 0.5), size), axis=axis)
    return image, mask


def _mirrored(place: Any, size: int) -> Any:
    """Return the pixel (int) that a mirror at the edges, repeated for ever, shows at a place."""
    inside = tf.math.floormod(tf.cast(place, tf.int32), 2 * size)
    return tf.minimum(inside, 2 * size - 1 - inside)
