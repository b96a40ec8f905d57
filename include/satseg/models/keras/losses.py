"""Losses over probabilities: one number for a batch.

All take class ids (N, H, W) uint8 (0 is background) and probabilities (N, H, W, K) float32; K = 1 is a sigmoid map of
one class, otherwise channel 0 is background and the channels sum to 1.
"""

from collections.abc import Callable
from typing import Any

from satseg.models.keras.runtime import tf

_SMOOTH = 1.0
_CLIP = 1e-7


def _targets(truth: Any, probabilities: Any) -> Any:
    channels = probabilities.shape[-1]
    if channels == 1:
        return tf.cast(truth > 0, probabilities.dtype)[..., tf.newaxis]
    return tf.one_hot(tf.cast(truth, tf.int32), channels, dtype=probabilities.dtype)


def dice_loss(truth: Any, probabilities: Any) -> Any:
    """Return 1 - Dice with smoothing of one pixel, averaged over the classes without background.

    Sums run over the whole batch, so that patches without a class do not dominate.
    Source: Milletari et al. 2016, V-Net, section 3 (with unsquared denominator).
    """
    targets = _targets(truth, probabilities)
    first = 0 if probabilities.shape[-1] == 1 else 1
    targets, probabilities = targets[..., first:], probabilities[..., first:]
    both = tf.reduce_sum(targets * probabilities, axis=(0, 1, 2))
    total = tf.reduce_sum(targets, axis=(0, 1, 2)) + tf.reduce_sum(probabilities, axis=(0, 1, 2))
    return tf.reduce_mean(1.0 - (2.0 * both + _SMOOTH) / (total + _SMOOTH))


def cross_entropy(truth: Any, probabilities: Any) -> Any:
    """Return the mean negative log-likelihood per pixel: binary for K = 1, categorical otherwise."""
    targets = _targets(truth, probabilities)
    clipped = tf.clip_by_value(probabilities, _CLIP, 1.0 - _CLIP)
    if probabilities.shape[-1] == 1:
        likelihood = targets * tf.math.log(clipped) + (1.0 - targets) * tf.math.log(1.0 - clipped)
        return -tf.reduce_mean(likelihood)
    return -tf.reduce_mean(tf.reduce_sum(targets * tf.math.log(clipped), axis=-1))


def dice_and_cross_entropy(truth: Any, probabilities: Any) -> Any:
    """Return the sum of both: Dice for overlap, cross-entropy for smooth gradients at the start."""
    return dice_loss(truth, probabilities) + cross_entropy(truth, probabilities)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "dice": dice_loss,
    "bce": cross_entropy,
    "dice_bce": dice_and_cross_entropy,
}


def batch_confusion(truth: Any, probabilities: Any, threshold: float = 0.5) -> Any:
    """Return the (C, C) int64 confusion of a batch, rows true and columns predicted, background first."""
    channels = probabilities.shape[-1]
    if channels == 1:
        classes, predicted = 2, tf.cast(probabilities[..., 0] >= threshold, tf.int32)
        true = tf.cast(truth > 0, tf.int32)
    else:
        classes, predicted = channels, tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        true = tf.cast(truth, tf.int32)
    cells = tf.math.bincount(tf.reshape(true * classes + predicted, [-1]), minlength=classes**2, maxlength=classes**2)
    return tf.cast(tf.reshape(cells, (classes, classes)), tf.int64)
