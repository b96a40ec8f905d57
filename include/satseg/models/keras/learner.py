"""A network that learns from a patch set, step by step; the loop around it lives in `satseg.training`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError
from satseg.models.interface import DESCRIPTION_FILE, MODEL_FILE, ModelDescription
from satseg.models.keras.architectures import encoder_layers
from satseg.models.keras.devices import choose_device
from satseg.models.keras.input_pipeline import WindowReader, training_batches, validation_batches
from satseg.models.keras.load import KerasSegmenter
from satseg.models.keras.losses import batch_confusion, class_weights, loss_function
from satseg.models.keras.out_of_memory import out_of_memory_explained
from satseg.models.keras.portable import copy_network
from satseg.models.keras.runtime import tf
from satseg.models.keras.updates import Updates
from satseg.patches.patchset import PatchSet
from satseg.storage.atomic import write_json

Arrays = dict[str, NDArray[Any]]


class Validation(NamedTuple):
    """Mean loss per window, and the pixels of the whole val split by true (row) and predicted (column) class."""

    loss: float
    confusion: NDArray[np.int64]


class KerasLearner:
    """Network, optimiser and data of one training.

    Attributes:
        network: what learns.
        average: the same with weights averaged over the last steps: what is validated, kept and saved.
    """

    def __init__(
        self,
        network: Any,
        patch_set: PatchSet,
        config: TrainingConfig,
        devices: Sequence[str] | None = None,
        draw_weights: NDArray[np.int64] | None = None,
    ) -> None:
        """Open train and val windows of the patch set.

        Args:
            network: of `build_network` or `load_network`; in half precision or on several devices a copy learns.
            patch_set: to learn from.
            config: how to learn.
            devices: to share each batch between; None takes all visible GPUs.
            draw_weights: draws per round of each train window, (N,); None takes the manifest's. An epoch is as long
                either way.

        Raises:
            BadDataError: one of the splits is empty, or the network was made for other bands.
            ConfigurationError: class weights or devices do not fit.
        """
        self.config = config
        self._size_px = patch_set.size_px
        _check_bands(network, patch_set)
        self._train = self._reader(patch_set, "train", config.cache_mib)
        draws = int(self._train.weights.sum())
        if draw_weights is not None:
            self._train.weights = draw_weights
        self._val = self._reader(patch_set, "val", 0)
        self._device = choose_device(config, devices)
        self._loss = loss_function(config, class_weights(config, patch_set.statistics.class_weights))
        self._draws_per_epoch = self._count_draws(draws)
        self.steps_per_epoch = -(-self._draws_per_epoch // config.batch_size)
        with self._device.strategy.scope(), out_of_memory_explained(config, self._size_px):
            self.network = network if self._device.plain else copy_network(network, self._device.precision)
            self._updates = Updates(self.network, self._loss, config, self._size_px, self._device)
        self.average = self._updates.average
        self._encoder_learns = True
        window = (None, self._size_px, self._size_px)
        batch = (tf.TensorSpec((*window, patch_set.channels), tf.float32), tf.TensorSpec(window, tf.uint8))
        self._val_step = tf.function(self._measure, input_signature=batch, autograph=False)

    def _count_draws(self, draws: int) -> int:
        batch_size = self.config.batch_size
        if self.config.steps_per_epoch is not None:
            return self.config.steps_per_epoch * batch_size
        # several devices need full batches; the draws have no end
        return draws if self._device.count == 1 else -(-draws // batch_size) * batch_size

    @staticmethod
    def _reader(patch_set: PatchSet, split: str, cache_mib: int) -> WindowReader:
        windows = patch_set.windows(split)
        if not len(windows):
            raise BadDataError(
                f"Patch set {patch_set.id} has no {split} windows. Ingest more labelled scenes, or lower "
                f"patches.block_px, or raise patches.{split}_fraction, then run `satseg patch` again."
            )
        return WindowReader(patch_set, windows, cache_mib)

    def _measure(self, images: Any, masks: Any) -> tuple[Any, Any]:
        probabilities = self.average(images, training=False)
        return self._loss(masks, probabilities), batch_confusion(masks, probabilities)

    @property
    def steps_done(self) -> int:
        """Optimiser steps since the start of the training."""
        return self._updates.done

    def set_encoder_trainable(self, trainable: bool) -> None:
        """Freeze the encoder or set it free; its batch normalisations use their statistics while frozen.

        The optimiser's state of frozen weights stays as it is. This is no part of `state`: repeat it after `restore`.
        """
        if trainable == self._encoder_learns:
            return
        for layer in encoder_layers(self.network):
            layer.trainable = trainable
        self._encoder_learns = trainable
        self._updates.trace()

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch (from 1), leaving out the first steps.

        With `steps_per_execution` one item holds that many full batches where there are as many left.

        Raises:
            ConfigurationError: a batch does not fit into memory.
        """
        skipped = min(first_step * self.config.batch_size, self._draws_per_epoch)
        if skipped < self._draws_per_epoch:
            first = (epoch - 1) * self._draws_per_epoch + skipped
            with out_of_memory_explained(self.config, self._size_px):
                yield from training_batches(self._train, self.config, first, self._draws_per_epoch - skipped)

    def step(self, batch: Any, learning_rate: float) -> float:
        """Learn from one item of `batches` and return its mean loss before the updates.

        Raises:
            ConfigurationError: the batch does not fit into memory.
        """
        with out_of_memory_explained(self.config, self._size_px):
            images, masks = batch
            return self._updates.run(images, masks, learning_rate)

    def validate(self) -> Validation:
        """Measure the averaged weights on the whole val split."""
        losses, windows, confusion = 0.0, 0, np.zeros((), np.int64)
        with out_of_memory_explained(self.config, self._size_px):
            for images, masks in validation_batches(self._val, self.config.batch_size):
                loss, cells = self._val_step(images, masks)
                losses += float(loss) * len(images)
                windows += len(images)
                confusion = confusion + cells.numpy()
        return Validation(losses / windows, confusion)

    def weights(self) -> Arrays:
        """Return the averaged weights by place: what was validated, and what becomes the model."""
        return _numbered("w", self.average.get_weights())

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set what `weights` returned; what learns stays as it is."""
        self.average.set_weights(_in_order("w", weights))

    def state(self) -> Arrays:
        """Return the weights that learn, their average and the optimiser's state."""
        average = _numbered("a", self.average.get_weights())
        return _numbered("w", self.network.get_weights()) | average | self._updates.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set what `state` returned."""
        self.network.set_weights(_in_order("w", state))
        self.average.set_weights(_in_order("a", state))
        self._updates.restore(state)

    def _exported(self) -> Any:
        return self.average if self._device.plain else copy_network(self.average)

    def segmenter(self, description: ModelDescription) -> KerasSegmenter:
        """Return the averaged network as it is now, to predict with in float32."""
        return KerasSegmenter(self._exported(), description)

    def save(self, folder: Path, description: ModelDescription) -> None:
        """Write model.keras (float32, without optimiser) and, last, model.json into an existing folder."""
        self._exported().save(folder / MODEL_FILE)
        write_json(folder / DESCRIPTION_FILE, description.model_dump(mode="json"))


def _numbered(letter: str, arrays: Sequence[NDArray[Any]]) -> Arrays:
    return {f"{letter}{place:05d}": array for place, array in enumerate(arrays)}


def _in_order(letter: str, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [arrays[name] for name in sorted(arrays) if name.startswith(letter)]


def _check_bands(network: Any, patch_set: PatchSet) -> None:
    bands = network.input_shape[-1]
    if bands != patch_set.channels:
        raise BadDataError(
            f"The network takes {bands} bands and patch set {patch_set.id} has {patch_set.channels} "
            f"({', '.join(patch_set.bands)}). Choose a patch set made of the model's bands, or train a new model."
        )
