"""Trains on one and on two logical processors, in a process of its own: devices cannot be divided later.

python mirrored_child.py WORKSPACE RESULT.npz
"""

import sys
from pathlib import Path

import numpy as np

from satseg.config.training import TrainingConfig
from satseg.models.keras.runtime import keras, tf
from satseg.patches.patchset import open_patch_set
from satseg.storage.layout import Workspace

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

from satseg.models.keras.learner import KerasLearner  # noqa: E402
from satseg.models.keras.portable import portable_network  # noqa: E402

TWO = ("/cpu:0", "/cpu:1")


def network(batch_norm: bool) -> object:
    """Return a small network."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="stem")(pixels)
    if batch_norm:
        x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(1, 1, activation="sigmoid", name="final")(x)
    return portable_network(keras.Model(pixels, x), (70.0,) * 3, (40.0,) * 3, 0.9)


def main() -> None:
    """Compare one device with two, and a restart on two with going on."""
    patch_set = open_patch_set(Workspace(Path(sys.argv[1])), "tiny")

    def learner(devices: tuple[str, ...], batch_norm: bool, **changes: object) -> KerasLearner:
        # a pixel loss: Dice of half a batch is not half of Dice
        settings = {"backbone": "mobilenet", "batch_size": 4, "loss": "bce", "gradient_clip_norm": 0.1} | changes
        return KerasLearner(network(batch_norm), patch_set, TrainingConfig(**settings), devices)

    def train(subject: KerasLearner, epoch: int) -> list[float]:
        return [subject.step(batch, 1e-2) for batch in subject.batches(epoch)]

    one, two = learner(TWO[:1], False, steps_per_epoch=5), learner(TWO, False, steps_per_epoch=5)
    losses = np.array([train(one, 1), train(two, 1)])
    weights = np.array([np.concatenate([w.ravel() for w in each.weights().values()]) for each in (one, two)])
    confusions = np.array([each.validate().confusion for each in (one, two)])

    going_on, resumed = (learner(TWO, True, precision="mixed_float16", steps_per_execution=2) for _ in range(2))
    train(going_on, 1)
    resumed.restore(going_on.state())
    train(going_on, 2)
    train(resumed, 2)
    pairs = {name: (array, resumed.state()[name]) for name, array in going_on.state().items()}
    unlike = [name for name, pair in pairs.items() if not np.array_equal(*pair)]
    np.savez(
        sys.argv[2],
        losses=losses,
        weights=weights,
        confusions=confusions,
        unlike=[going_on.network.weights[int(name[1:])].name for name in unlike],
        distance=max([0.0, *(np.abs(np.subtract(*pairs[name])).max() for name in unlike)]),
        devices=going_on._device.count,
        windows=[len(masks) if masks.shape.rank == 3 else 4 for _, masks in going_on.batches(1)],
        steps=going_on.steps_done,
    )


if __name__ == "__main__":
    main()
