"""Losses and counts against slow, obvious NumPy."""

import numpy as np
import pytest

from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError

pytestmark = pytest.mark.slow

WEIGHTS = (0.5, 2.0, 1.0, 4.0)


def random_batch(channels, ignored, seed=5):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, max(2, channels), (3, 8, 8)).astype(np.uint8)
    if ignored:
        truth[rng.random(truth.shape) < 0.3] = 255
    raw = rng.uniform(0.01, 0.99, (3, 8, 8, channels)).astype(np.float32)
    return truth, raw if channels == 1 else raw / raw.sum(axis=-1, keepdims=True)


def pixels(truth, probabilities):
    """Yield (class id, probabilities of all channels) of every pixel that counts."""
    for place in np.argwhere(truth != 255):
        yield int(truth[tuple(place)]), probabilities[tuple(place)].astype(np.float64)


def reference_focal(truth, probabilities, weights, gamma):
    total = share = 0.0
    for label, p in pixels(truth, probabilities):
        sure = (p[0] if label else 1 - p[0]) if len(p) == 1 else p[label]
        weight = 1.0 if weights is None else weights[label]
        total -= weight * (1 - sure) ** gamma * np.log(sure)
        share += weight
    return total / share


def foreground_counts(truth, probabilities):
    """Yield class id, Σ target·p, Σ target, Σ p of each class without background."""
    for label in range(1, max(2, probabilities.shape[-1])):
        channel = 0 if probabilities.shape[-1] == 1 else label
        wanted = np.array([label == found for found, _ in pixels(truth, probabilities)], float)
        p = np.array([row[channel] for _, row in pixels(truth, probabilities)])
        yield label, (wanted * p).sum(), wanted.sum(), p.sum()


def class_mean(losses, weights):
    shares = [1.0 if weights is None or len(losses) == 1 else weights[label] for label in losses]
    return np.average(list(losses.values()), weights=shares)


def reference_dice(truth, probabilities, weights):
    return class_mean(
        {
            label: 1 - (2 * both + 1) / (wanted + found + 1)
            for label, both, wanted, found in foreground_counts(truth, probabilities)
        },
        weights,
    )


def reference_tversky(truth, probabilities, weights, alpha, beta):
    return class_mean(
        {
            label: 1 - (both + 1) / (both + alpha * (found - both) + beta * (wanted - both) + 1)
            for label, both, wanted, found in foreground_counts(truth, probabilities)
        },
        weights,
    )


def reference_lovasz(truth, probabilities, weights):
    """The Lovász extension by its definition: marginal gains of the Jaccard loss of sets of wrong pixels."""
    labels = [label for label, _ in pixels(truth, probabilities)]
    rows = [row for _, row in pixels(truth, probabilities)]
    binary = probabilities.shape[-1] == 1
    losses = {}
    for label in [1] if binary else sorted(set(labels)):
        positive = {place for place, found in enumerate(labels) if found == label}
        errors = [abs((place in positive) - row[0 if binary else label]) for place, row in enumerate(rows)]
        wrong, before, total = set(), 0.0, 0.0
        for place in sorted(range(len(rows)), key=lambda place: -errors[place]):
            wrong.add(place)
            jaccard_loss = len(wrong) / len(positive | wrong)
            total += errors[place] * (jaccard_loss - before)
            before = jaccard_loss
        losses[label] = total
    return class_mean(losses, None if binary else weights)


REFERENCES = {
    "dice": reference_dice,
    "bce": lambda *batch: reference_focal(*batch, 0.0),
    "dice_bce": lambda *batch: reference_dice(*batch) + reference_focal(*batch, 0.0),
    "focal": lambda *batch: reference_focal(*batch, 1.5),
    "tversky": lambda *batch: reference_tversky(*batch, 0.2, 0.9),
    "lovasz": reference_lovasz,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", REFERENCES)
def test_losses_equal_numpy(name, channels, ignored, weighted):
    from satseg.models.keras.losses import loss_function

    truth, probabilities = random_batch(channels, ignored)
    weights = WEIGHTS[: max(2, channels)] if weighted else None
    config = TrainingConfig(loss=name, focal_gamma=1.5, tversky_alpha=0.2, tversky_beta=0.9)
    expected = REFERENCES[name](truth, probabilities, weights)
    assert float(loss_function(config, weights)(truth, probabilities)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("truth_value", [0, 1, 255])
def test_gradients_are_numbers_on_uniform_windows_and_sure_answers(name, truth_value):
    from satseg.models.keras.losses import loss_function
    from satseg.models.keras.runtime import tf

    for channels in (1, 2):
        truth = np.full((1, 8, 8), truth_value, np.uint8)
        probabilities = tf.Variable(np.eye(2, dtype=np.float32)[np.arange(64) % 2].reshape(1, 8, 8, 2)[..., :channels])
        with tf.GradientTape() as tape:
            loss = loss_function(TrainingConfig(loss=name, focal_gamma=0.5), None)(truth, probabilities)
        gradient = tape.gradient(loss, probabilities).numpy()
        assert np.isfinite(float(loss))
        assert np.isfinite(gradient).all()
        assert truth_value != 255 or not gradient.any()


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("channels", [1, 4])
def test_confusion_counts_every_pixel_that_is_not_ignored(channels, ignored):
    from satseg.models.keras.losses import batch_confusion

    truth, probabilities = random_batch(channels, ignored)
    expected = np.zeros((max(2, channels),) * 2, int)
    for label, p in pixels(truth, probabilities):
        expected[label, int(p[0] >= 0.5) if channels == 1 else int(p.argmax())] += 1
    assert batch_confusion(truth, probabilities).numpy().tolist() == expected.tolist()
    assert expected.sum() == (truth != 255).sum()


def test_weights_are_none_the_patch_sets_or_given_ones():
    from satseg.models.keras.losses import class_weights

    balanced = (0.6, 3.0)
    assert class_weights(TrainingConfig(), balanced) is None
    assert class_weights(TrainingConfig(class_weights="balanced"), balanced) == balanced
    assert class_weights(TrainingConfig(class_weights=(1, 5)), balanced) == (1, 5)
    for wrong in ((1, 2, 3), (-1, 2), (0, 0)):
        with pytest.raises(ConfigurationError, match="background first"):
            class_weights(TrainingConfig(class_weights=wrong), balanced)
