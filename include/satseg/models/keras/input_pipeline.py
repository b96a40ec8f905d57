"""Windows of a patch set as tf.data, in any order: from memory when they fit, else one by one from the shards."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError
from satseg.models.draws import draw_order
from satseg.models.keras.augmentation import augmentation
from satseg.models.keras.chances import chances
from satseg.models.keras.photometry import PixelRange
from satseg.models.keras.runtime import plain_graph, tf
from satseg.patches.patchset import PatchSet, header_bytes

_PREFETCHED = 2
_READ_TOGETHER = 8


class WindowReader:
    """Reads windows of one split; each read takes one record of a shard, or of the copy in memory."""

    def __init__(self, patch_set: PatchSet, windows: pd.DataFrame, cache_mib: int = 0) -> None:
        """Find the windows' places in the shards.

        Args:
            patch_set: complete.
            windows: rows of its manifest.
            cache_mib: keep all windows in memory when they need no more.

        Raises:
            BadDataError: a shard is missing or has another size than its number of records says.
        """
        self.patch_set = patch_set
        self.weights: NDArray[np.int64] = windows["draw_weight"].to_numpy(np.int64)
        size, channels = patch_set.size_px, patch_set.channels
        self._shards = windows["shard"].to_numpy(np.int64)
        self._index = windows["index"].to_numpy(np.int64)
        files = patch_set.shard_files()
        lengths = np.array([size * size * channels * np.dtype(patch_set.dtype).itemsize, size * size])
        headers = np.array([self._checked_headers(shard, lengths) for shard in range(len(files))], np.int64)
        self._files = np.array([[str(images), str(masks)] for images, masks in files])[self._shards]
        self._offsets = headers[self._shards] + self._index[:, None] * lengths
        self.cached = len(self) * int(lengths.sum()) <= cache_mib * 2**20
        self._memory: tuple[Any, Any] | None = self._in_memory() if self.cached else None

    def _checked_headers(self, shard: int, record_bytes: NDArray[np.int64]) -> list[int]:
        headers = []
        for path, length in zip(self.patch_set.shard_files()[shard], record_bytes, strict=True):
            try:
                header, size = header_bytes(path), path.stat().st_size
            except (OSError, ValueError) as error:
                raise BadDataError(f"{path} cannot be read ({error}). Run `satseg patch --force` again.") from error
            # a record cut off would be left out of the training silently
            expected = header + length * self.patch_set.description.shards[shard]
            if size != expected:
                raise BadDataError(
                    f"{path} has {size} bytes instead of {expected}: it is damaged. Run `satseg patch --force` again."
                )
            headers.append(header)
        return headers

    def _in_memory(self) -> tuple[Any, Any]:
        size = self.patch_set.size_px
        images = np.empty((len(self), size, size, self.patch_set.channels), self.patch_set.dtype)
        masks = np.empty((len(self), size, size), np.uint8)
        for shard in np.unique(self._shards):
            rows = np.flatnonzero(self._shards == shard)
            images[rows] = self.patch_set.images(int(shard))[self._index[rows]]
            masks[rows] = self.patch_set.masks(int(shard))[self._index[rows]]
        with tf.device("/cpu:0"):
            return tf.constant(images), tf.constant(masks)

    def __len__(self) -> int:
        return len(self.weights)

    def dataset(self, order: NDArray[np.int64]) -> Any:
        """Return windows in this order: (image (H, W, C) float32, mask (H, W) uint8)."""
        mean = tf.constant(self.patch_set.statistics.mean, tf.float32)

        def as_float(image: Any, mask: Any) -> tuple[Any, Any]:
            pixels = tf.cast(image, tf.float32)
            if image.dtype.is_floating:  # NaN marks nodata
                pixels = tf.where(tf.math.is_finite(pixels), pixels, mean)
            return pixels, mask

        records = self._from_shards(order) if self._memory is None else self._from_memory(*self._memory, order)
        return records.map(plain_graph(as_float), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    @staticmethod
    def _from_memory(images: Any, masks: Any, order: NDArray[np.int64]) -> Any:
        def window(place: Any) -> tuple[Any, Any]:
            return images[place], masks[place]

        return tf.data.Dataset.from_tensor_slices(order).map(plain_graph(window))

    def _from_shards(self, order: NDArray[np.int64]) -> Any:
        size, channels, dtype = self.patch_set.size_px, self.patch_set.channels, np.dtype(self.patch_set.dtype)

        def read(places: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            images = np.empty((len(places), size, size, channels), dtype)
            masks = np.empty((len(places), size, size), np.uint8)
            for number, place in enumerate(places):
                for path, offset, target in zip(
                    self._files[place], self._offsets[place], (images[number], masks[number]), strict=True
                ):
                    with Path(path).open("rb", buffering=0) as file:
                        file.seek(offset)
                        if file.readinto(target) != target.nbytes:
                            raise EOFError(f"{path} ends within a window; was it changed during the training?")
            return images, masks

        def windows(places: Any) -> tuple[Any, Any]:
            # not FixedLengthRecordDataset: it reads a shard up to the record, 0.1 ms per MiB (ADR 17)
            images, masks = tf.numpy_function(read, [places], (dtype, np.uint8))
            shape = (None, size, size)
            return tf.ensure_shape(images, (*shape, channels)), tf.ensure_shape(masks, shape)

        # a call into Python costs more than reading a window
        groups = tf.data.Dataset.from_tensor_slices(order).batch(_READ_TOGETHER)
        return groups.map(plain_graph(windows), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).unbatch()


def training_batches(reader: WindowReader, config: TrainingConfig, first: int, count: int) -> Any:
    """Return augmented, shuffled batches of the draws `first` … `first + count - 1`; the last may be smaller.

    The same seed gives the same batches whatever the number of threads, and from whatever draw one starts. With
    `steps_per_execution` K the batches come stacked, (K, N, H, W, C), as far as there are K full ones; the rest singly.
    """
    together = config.steps_per_execution * config.batch_size
    stacked = 0 if config.steps_per_execution == 1 else count // together * together
    rest = _batches(reader, config, first + stacked, count - stacked)
    if not stacked:
        return rest.prefetch(_PREFETCHED)
    stacks = _batches(reader, config, first, stacked).batch(config.steps_per_execution).prefetch(_PREFETCHED)
    return chain(stacks, rest)  # of different rank: no single tf.data holds both


def _batches(reader: WindowReader, config: TrainingConfig, first: int, count: int) -> Any:
    patch_set, statistics = reader.patch_set, reader.patch_set.statistics
    pixels = PixelRange.of(patch_set.dtype, statistics.mean, statistics.std)
    change = augmentation(config, pixels, statistics.mean)
    places = np.arange(first, first + count, dtype=np.int64)
    order = draw_order(reader.weights, first, count, config.seed) if count else places
    seeds = tf.data.Dataset.from_tensor_slices(np.stack([np.full_like(places, config.seed), places], axis=1))
    windows = tf.data.Dataset.zip((reader.dataset(order), seeds))

    def change_window(window: Any, seed: Any) -> tuple[Any, Any, Any]:
        chance = chances(seed, patch_set.channels)
        return (*change.window(window[0], window[1], chance), chance)

    def change_batch(images: Any, masks: Any, chance: Any) -> tuple[Any, Any]:
        return change.batch(images, chance), masks

    changed = windows.map(plain_graph(change_window), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return changed.batch(config.batch_size).map(plain_graph(change_batch))


def validation_batches(reader: WindowReader, batch_size: int) -> Any:
    """Return all windows once, unchanged, in order."""
    return reader.dataset(np.arange(len(reader))).batch(batch_size).prefetch(_PREFETCHED)
