"""Losses over probabilities: one number for a batch.

All take class ids (N, H, W) uint8 (0 is background, 255 is ignored) and probabilities (N, H, W, K) float32; K = 1 is a
sigmoid map of one class, otherwise channel 0 is background and the channels sum to 1. `weights` are numbers per class,
background first: of pixels in the pixel losses, of classes in the region losses; only their ratios matter.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError
from satseg.models.interface import IGNORED
from satseg.models.keras.runtime import tf

_SMOOTH = 1.0
_CLIP = 1e-7

Weights = Sequence[float] | None
Loss = Callable[[Any, Any], Any]


class _Batch(NamedTuple):
    """Truth as the losses need it: ids and validity (N, H, W), targets and probabilities (N, H, W, K), 0 if ignored."""

    ids: Any
    valid: Any
    targets: Any
    probabilities: Any


def _prepared(truth: Any, probabilities: Any) -> _Batch:
    channels = probabilities.shape[-1]
    seen = tf.not_equal(truth, IGNORED)
    ids = tf.where(seen, tf.cast(truth, tf.int32), 0)
    ids = tf.minimum(ids, 1) if channels == 1 else ids
    valid = tf.cast(seen, probabilities.dtype)
    # one_hot of a single channel would mark the background
    targets = tf.one_hot(ids, max(channels, 2), dtype=probabilities.dtype)[..., -channels:]
    return _Batch(ids, valid, targets * valid[..., tf.newaxis], probabilities * valid[..., tf.newaxis])


def _mean_over_pixels(values: Any, batch: _Batch, weights: Weights) -> Any:
    share = batch.valid
    if weights is not None:
        share *= tf.gather(tf.constant(weights, values.dtype), batch.ids)
    return tf.math.divide_no_nan(tf.reduce_sum(values * share), tf.reduce_sum(share))


def _mean_over_classes(values: Any, weights: Weights, first: int) -> Any:
    if weights is None or values.shape[0] == 1:
        return tf.reduce_mean(values)
    share = tf.constant(weights[first:], values.dtype)
    return tf.reduce_sum(values * share) / tf.reduce_sum(share)


def _sums(truth: Any, probabilities: Any) -> tuple[Any, Any, Any]:
    """Return true positive, target and predicted mass of each class without background, over the whole batch."""
    batch = _prepared(truth, probabilities)
    first = 0 if probabilities.shape[-1] == 1 else 1
    targets, found = batch.targets[..., first:], batch.probabilities[..., first:]
    axes = (0, 1, 2)
    return tf.reduce_sum(targets * found, axes), tf.reduce_sum(targets, axes), tf.reduce_sum(found, axes)


def dice_loss(truth: Any, probabilities: Any, weights: Weights = None) -> Any:
    """Return 1 - Dice with smoothing of one pixel, averaged over the classes without background.

    Sums run over the whole batch, so that patches without a class do not dominate.
    Source: Milletari et al. 2016, V-Net, section 3 (with unsquared denominator).
    """
    both, wanted, found = _sums(truth, probabilities)
    return _mean_over_classes(1.0 - (2.0 * both + _SMOOTH) / (wanted + found + _SMOOTH), weights, 1)


def tversky_loss(truth: Any, probabilities: Any, weights: Weights = None, alpha: float = 0.3, beta: float = 0.7) -> Any:
    """Return 1 - Tversky index with smoothing of one pixel, averaged over the classes without background.

    `alpha` weighs false positives, `beta` false negatives; 0.5 and 0.5 give Dice.
    Source: Salehi et al. 2017, Tversky loss function for image segmentation, equation 4.
    """
    both, wanted, found = _sums(truth, probabilities)
    index = (both + _SMOOTH) / (both + alpha * (found - both) + beta * (wanted - both) + _SMOOTH)
    return _mean_over_classes(1.0 - index, weights, 1)


def _true_class_probability(batch: _Batch, probabilities: Any) -> Any:
    clipped = tf.clip_by_value(probabilities, _CLIP, 1.0 - _CLIP)
    if probabilities.shape[-1] == 1:
        target, found = batch.targets[..., 0], clipped[..., 0]
        return target * found + (1.0 - target) * (1.0 - found)
    # an ignored pixel has no target: any number will do, its share of the mean is 0
    return tf.reduce_sum(batch.targets * clipped, axis=-1) + 0.5 * (1.0 - batch.valid)


def cross_entropy(truth: Any, probabilities: Any, weights: Weights = None) -> Any:
    """Return the mean negative log-likelihood per pixel: binary for K = 1, categorical otherwise."""
    return focal_loss(truth, probabilities, weights, gamma=0.0)


def focal_loss(truth: Any, probabilities: Any, weights: Weights = None, gamma: float = 2.0) -> Any:
    """Return the mean of (1 - p)^gamma · -log p per pixel, p the probability of the true class.

    Source: Lin et al. 2017, Focal loss for dense object detection, equation 5 (alpha is `weights`).
    """
    batch = _prepared(truth, probabilities)
    sure = _true_class_probability(batch, probabilities)
    values = -tf.math.log(sure)
    if gamma:
        values *= (1.0 - sure) ** gamma
    return _mean_over_pixels(values, batch, weights)


def dice_and_cross_entropy(truth: Any, probabilities: Any, weights: Weights = None) -> Any:
    """Return the sum of both: Dice for overlap, cross-entropy for smooth gradients at the start."""
    return dice_loss(truth, probabilities, weights) + cross_entropy(truth, probabilities, weights)


def _lovasz_of_class(target: Any, found: Any) -> Any:
    errors = tf.abs(target - found)
    order = tf.argsort(errors, direction="DESCENDING")
    errors, target = tf.gather(errors, order), tf.gather(target, order)
    total = tf.reduce_sum(target)
    jaccard = 1.0 - (total - tf.cumsum(target)) / (total + tf.cumsum(1.0 - target))
    steps = jaccard - tf.concat(([0.0], jaccard[:-1]), axis=0)
    # the order is piecewise constant: gradients flow through the errors alone
    return tf.reduce_sum(errors * tf.stop_gradient(steps))


def lovasz_loss(truth: Any, probabilities: Any, weights: Weights = None) -> Any:
    """Return the Lovász extension of the Jaccard loss over the whole batch; K > 1: mean over the classes present.

    Source: Berman et al. 2018, The Lovász-Softmax loss, equation 9 and algorithm 1. For K = 1 the same is taken of the
    class alone; the paper's hinge would need logits.
    """
    batch = _prepared(truth, probabilities)
    channels = probabilities.shape[-1]
    # ignored pixels have target and probability 0: errors of 0 come last and add nothing
    targets, found = tf.reshape(batch.targets, (-1, channels)), tf.reshape(batch.probabilities, (-1, channels))
    values = tf.stack([_lovasz_of_class(targets[:, k], found[:, k]) for k in range(channels)])
    if channels == 1:
        return values[0]
    share = tf.cast(tf.reduce_any(targets > 0.0, axis=0), values.dtype)
    if weights is not None:
        share *= tf.constant(weights, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * share), tf.reduce_sum(share))


LOSSES: dict[str, Callable[..., Any]] = {
    "dice": dice_loss,
    "bce": cross_entropy,
    "dice_bce": dice_and_cross_entropy,
    "focal": focal_loss,
    "tversky": tversky_loss,
    "lovasz": lovasz_loss,
}


def class_weights(config: TrainingConfig, balanced: Sequence[float]) -> Weights:
    """Return the weights a training uses.

    Args:
        config: says which.
        balanced: the patch set's weights, background first.

    Raises:
        ConfigurationError: the number of weights is not that of the classes and background.
    """
    if config.class_weights is None:
        return None
    weights = tuple(balanced) if config.class_weights == "balanced" else config.class_weights
    if len(weights) != len(balanced) or min(weights) < 0 or sum(weights) == 0:
        raise ConfigurationError(
            f"training.class_weights: {list(weights)} must be {len(balanced)} numbers, not negative and not all 0: "
            "background first, then the classes in the project's order."
        )
    return weights


def loss_function(config: TrainingConfig, weights: Weights) -> Loss:
    """Return the loss of a training as a function (truth, probabilities) → scalar."""
    parameters: dict[str, float] = {}
    if config.loss == "focal":
        parameters = {"gamma": config.focal_gamma}
    elif config.loss == "tversky":
        parameters = {"alpha": config.tversky_alpha, "beta": config.tversky_beta}
    return partial(LOSSES[config.loss], weights=weights, **parameters)


def batch_confusion(truth: Any, probabilities: Any, threshold: float = 0.5) -> Any:
    """Return the (C, C) int64 confusion of a batch, rows true and columns predicted, background first.

    Ignored pixels are not counted.
    """
    channels = probabilities.shape[-1]
    seen = tf.not_equal(truth, IGNORED)
    true = tf.cast(truth, tf.int32)
    if channels == 1:
        classes, predicted = 2, tf.cast(probabilities[..., 0] >= threshold, tf.int32)
        true = tf.minimum(true, 1)
    else:
        classes, predicted = channels, tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    cells = tf.where(seen, true * classes + predicted, classes**2)  # one cell more for what is ignored
    size = classes**2 + 1
    counts = tf.math.bincount(tf.reshape(cells, [-1]), minlength=size, maxlength=size)[:-1]
    return tf.cast(tf.reshape(counts, (classes, classes)), tf.int64)
