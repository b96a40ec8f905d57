"""A network that learns from a patch set, step by step; the loop around it lives in `satseg.training`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError, ConfigurationError
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, ModelDescription
from satseg.models.keras.input_pipeline import WindowReader, training_batches, validation_batches
from satseg.models.keras.load import KerasSegmenter
from satseg.models.keras.losses import LOSSES, batch_confusion
from satseg.models.keras.runtime import keras, tf
from satseg.patches.patchset import PatchSet
from satseg.storage.atomic import write_json

Arrays = dict[str, NDArray[Any]]


class Validation(NamedTuple):
    """Mean loss per window, and the pixels of the whole val split by true (row) and predicted (column) class."""

    loss: float
    confusion: NDArray[np.int64]


@contextmanager
def _out_of_memory_explained(config: TrainingConfig) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise ConfigurationError(
            f"Out of memory with training.batch_size {config.batch_size} and {config.backbone}. "
            "Lower it, for example --set training.batch_size=" + f"{max(1, config.batch_size // 2)}, "
            "or take a smaller backbone or patches.size_px."
        ) from error


class KerasLearner:
    """Network, optimiser and data of one training."""

    def __init__(self, network: Any, patch_set: PatchSet, config: TrainingConfig) -> None:
        """Open train and val windows of the patch set.

        Raises:
            BadDataError: one of the splits is empty.
        """
        self.network = network
        self.config = config
        self._train = self._reader(patch_set, "train")
        self._val = self._reader(patch_set, "val")
        draws = int(self._train.weights.sum())
        self._draws_per_epoch = draws if config.steps_per_epoch is None else config.steps_per_epoch * config.batch_size
        self.steps_per_epoch = -(-self._draws_per_epoch // config.batch_size)
        self._loss = LOSSES[config.loss]
        self._optimizer = keras.optimizers.legacy.Adam(learning_rate=config.learning_rate)
        self._optimizer._create_all_weights(network.trainable_variables)
        self._generators = [
            layer._random_generator._generator for layer in network.layers if isinstance(layer, keras.layers.Dropout)
        ]
        size, channels = patch_set.size_px, patch_set.channels
        batch = (tf.TensorSpec((None, size, size, channels), tf.float32), tf.TensorSpec((None, size, size), tf.uint8))
        with_rate = (*batch, tf.TensorSpec((), tf.float32))
        self._train_step = tf.function(self._one_step, input_signature=with_rate, autograph=False)
        self._val_step = tf.function(self._measure, input_signature=batch, autograph=False)

    @staticmethod
    def _reader(patch_set: PatchSet, split: str) -> WindowReader:
        windows = patch_set.windows(split)
        if not len(windows):
            raise BadDataError(
                f"Patch set {patch_set.id} has no {split} windows. Ingest more labelled scenes, or lower "
                f"patches.block_px, or raise patches.{split}_fraction, then run `satseg patch` again."
            )
        return WindowReader(patch_set, windows)

    def _one_step(self, images: Any, masks: Any, learning_rate: Any) -> Any:
        step = tf.cast(self._optimizer.iterations, tf.int64)
        for number, generator in enumerate(self._generators):
            # dropout as a function of the step, so that a resumed training drops the same units
            generator.reset(tf.stack([step, tf.constant(number, tf.int64), tf.constant(self.config.seed, tf.int64)]))
        self._optimizer.learning_rate.assign(learning_rate)
        with tf.GradientTape() as tape:
            loss = self._loss(masks, self.network(images, training=True))
        variables = self.network.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def _measure(self, images: Any, masks: Any) -> tuple[Any, Any]:
        probabilities = self.network(images, training=False)
        return self._loss(masks, probabilities), batch_confusion(masks, probabilities)

    @property
    def steps_done(self) -> int:
        """Optimiser steps since the start of the training."""
        return int(self._optimizer.iterations.numpy())

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch (from 1), leaving out the first steps."""
        skipped = min(first_step * self.config.batch_size, self._draws_per_epoch)
        if skipped < self._draws_per_epoch:
            first = (epoch - 1) * self._draws_per_epoch + skipped
            yield from training_batches(self._train, self.config, first, self._draws_per_epoch - skipped)

    def step(self, batch: Any, learning_rate: float) -> float:
        """Learn from one batch and return its loss before the update.

        Raises:
            ConfigurationError: the batch does not fit into memory.
        """
        with _out_of_memory_explained(self.config):
            return float(self._train_step(*batch, learning_rate))

    def validate(self) -> Validation:
        """Measure the whole val split."""
        losses, windows, confusion = 0.0, 0, np.zeros((), np.int64)
        with _out_of_memory_explained(self.config):
            for images, masks in validation_batches(self._val, self.config.batch_size):
                loss, cells = self._val_step(images, masks)
                losses += float(loss) * len(images)
                windows += len(images)
                confusion = confusion + cells.numpy()
        return Validation(losses / windows, confusion)

    def weights(self) -> Arrays:
        """Return the network's weights by place."""
        return {f"w{place:05d}": array for place, array in enumerate(self.network.get_weights())}

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set what `weights` returned."""
        self.network.set_weights([weights[name] for name in sorted(weights) if name.startswith("w")])

    def state(self) -> Arrays:
        """Return weights and optimiser state."""
        optimizer = {f"o{place:05d}": array for place, array in enumerate(self._optimizer.get_weights())}
        return self.weights() | optimizer

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set what `state` returned."""
        self.set_weights(state)
        self._optimizer.set_weights([state[name] for name in sorted(state) if name.startswith("o")])

    def segmenter(self, description: ModelDescription) -> KerasSegmenter:
        """Return the network as it is now, to predict with."""
        return KerasSegmenter(self.network, description)

    def save(self, folder: Path, description: ModelDescription) -> None:
        """Write model.keras (without optimiser) and, last, model.json into an existing folder."""
        self.network.save(folder / MODEL_FILE)
        write_json(folder / DESCRIPTION_FILE, description.model_dump(mode="json"))
