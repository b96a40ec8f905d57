"""How a network learns from a batch: loss, gradients, clipping, optimiser, averaging; on one device or on several.

The average of the weights over the last steps is steadier than the weights, so that a validation on few blocks says
more, and usually generalises better. Polynomial-decay averaging (Shamir and Zhang, "Stochastic gradient descent for
non-smooth optimization", ICML 2013) needs no number of steps known before: the average always reaches over the same
part of the steps so far.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.models.keras.devices import Device
from satseg.models.keras.losses import Loss
from satseg.models.keras.portable import copy_network
from satseg.models.keras.runtime import keras, tf

_LOSS_SCALE = ("scale", "good_steps")


class _StepRandomness:
    """Stands in for a dropout layer's generator: a function of seed, step, layer and device, so that it can resume."""

    def __init__(self, seed: int, number: int, steps: Any) -> None:
        self._key = (seed, number)
        self._steps = steps

    def uniform(self, shape: Any, dtype: Any = tf.float32, **_: Any) -> Any:
        """Return numbers in 0..1."""
        replica = tf.distribute.get_replica_context()
        device = replica.replica_id_in_sync_group if replica is not None else 0
        seed = tf.random.experimental.stateless_fold_in(tf.constant(self._key, tf.int64), self._steps)
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(device, tf.int64))
        return tf.random.stateless_uniform(shape, seed, dtype=dtype)


class Updates:
    """Owns a network's optimiser; variables are those of the strategy's scope in which it is made.

    Attributes:
        network: what learns.
        average: a network of the same layers with the averaged weights; it only predicts.
    """

    def __init__(self, network: Any, loss: Loss, config: TrainingConfig, size_px: int, device: Device) -> None:
        self.network = network
        self.average = copy_network(network, device.precision)
        self._pairs = list(zip(self.average.weights, network.weights, strict=True))
        self._size_px = size_px
        self._loss = loss
        self._config = config
        self._device = device
        self._optimizer = keras.optimizers.legacy.Adam(learning_rate=config.learning_rate)
        # slots for all weights, also of layers that are frozen now: the order of the state never changes
        self._optimizer._create_all_weights(network.trainable_variables)
        self._scaled = device.precision == "mixed_float16"
        if self._scaled:
            self._optimizer = keras.mixed_precision.LossScaleOptimizer(self._optimizer)
        dropouts = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
        for number, layer in enumerate(dropouts):
            layer._random_generator._generator = _StepRandomness(config.seed, number, self._optimizer.iterations)
        self.trace()

    def trace(self) -> None:
        """Forget compiled steps; needed when layers were frozen or set free."""
        options = {"autograph": False, "jit_compile": True if self._config.xla else None}
        window = (None, self._size_px, self._size_px)
        image, rate = (*window, self.network.input_shape[-1]), tf.TensorSpec((), tf.float32)
        one = (tf.TensorSpec(image, tf.float32), tf.TensorSpec(window, tf.uint8), rate)
        several = (tf.TensorSpec((None, *image), tf.float32), tf.TensorSpec((None, *window), tf.uint8), rate)
        self._one = tf.function(self._step, input_signature=one, **options)
        self._several = tf.function(self._steps, input_signature=several, **options)

    @property
    def done(self) -> int:
        """Steps since the start of the training."""
        return int(self._optimizer.iterations.numpy())

    def run(self, images: Any, masks: Any, learning_rate: float) -> float:
        """Learn from a batch, or from several stacked ones, and return the mean loss before the updates.

        Args:
            images: (N, H, W, C) or (steps, N, H, W, C) float32.
            masks: (N, H, W) or (steps, N, H, W) uint8.
            learning_rate: of all steps.
        """
        rate = tf.constant(learning_rate, tf.float32)
        return float((self._one if images.shape.rank == 4 else self._several)(images, masks, rate))

    def _steps(self, images: Any, masks: Any, rate: Any) -> Any:
        count = tf.shape(images)[0]

        def body(number: Any, total: Any) -> tuple[Any, Any]:
            return number + 1, total + self._step(images[number], masks[number], rate)

        _, total = tf.while_loop(
            lambda number, _: number < count, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )
        return total / tf.cast(count, total.dtype)

    def _step(self, images: Any, masks: Any, rate: Any) -> Any:
        self._optimizer.learning_rate.assign(rate)
        loss = self._learn(images, masks) if self._device.count == 1 else self._learn_on_all(images, masks)
        self._update_average()
        return loss

    def _learn_on_all(self, images: Any, masks: Any) -> Any:
        devices = self._device.count

        def part() -> Any:
            replica = tf.distribute.get_replica_context()
            size = tf.shape(images)[0] // devices
            first = replica.replica_id_in_sync_group * size
            with tf.device("/cpu:0"):  # so that a device is sent its own part only
                own_images, own_masks = images[first : first + size], masks[first : first + size]
            return self._learn(own_images, own_masks)

        losses = self._device.strategy.run(part)
        return self._device.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    def _learn(self, images: Any, masks: Any) -> Any:
        devices = self._device.count
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._loss(masks, self.network(images, training=True))
            aim = loss / devices
            aim = self._optimizer.get_scaled_loss(aim) if self._scaled else aim
        gradients = tape.gradient(aim, variables)
        if self._scaled:
            gradients = self._optimizer.get_unscaled_gradients(gradients)
        if devices > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self._config.gradient_clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._config.gradient_clip_norm)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True), experimental_aggregate_gradients=False)
        return loss

    def _update_average(self) -> None:
        if not self._config.weight_averaging:
            share = tf.constant(1.0)
        else:
            reach = 1.0 / self._config.weight_averaging
            step = tf.cast(self._optimizer.iterations, tf.float32)
            share = tf.minimum(1.0, reach / (step + reach - 1.0))  # of these weights; all of the first step's
        for average, weight in self._pairs:
            average.assign(average + share * (weight - average))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the optimiser's state: moments, steps, and with float16 the loss scale."""
        arrays = {f"o{place:05d}": array for place, array in enumerate(self._optimizer.get_weights())}
        if self._scaled:
            scale = self._optimizer._loss_scale
            arrays |= dict(zip(_LOSS_SCALE, (scale.current_loss_scale.numpy(), scale.counter.numpy()), strict=True))
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set what `state` returned."""
        self._optimizer.set_weights([state[name] for name in sorted(state) if name.startswith("o")])
        if self._scaled:
            scale = self._optimizer._loss_scale
            scale.current_loss_scale.assign(np.float32(state[_LOSS_SCALE[0]]))
            scale.counter.assign(np.int64(state[_LOSS_SCALE[1]]))
