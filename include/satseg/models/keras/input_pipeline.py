"""Windows of a patch set as tf.data, read natively and in any order from the .npy shards."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import BadDataError
from satseg.models.draws import draw_order
from satseg.models.keras.augmentation import PixelRange, chances, geometry, photometry
from satseg.models.keras.runtime import plain_graph, tf
from satseg.patches.patchset import PatchSet, header_bytes

_OPEN_FILES = 4


class WindowReader:
    """Reads windows of one split; each read opens the shard at the window's place and takes one record."""

    def __init__(self, patch_set: PatchSet, windows: pd.DataFrame) -> None:
        """Find the windows' places in the shards.

        Raises:
            BadDataError: a shard is missing or has another size than its number of records says.
        """
        self.patch_set = patch_set
        self.weights: NDArray[np.int64] = windows["draw_weight"].to_numpy(np.int64)
        size, channels = patch_set.size_px, patch_set.channels
        self._image_bytes = size * size * channels * np.dtype(patch_set.dtype).itemsize
        self._mask_bytes = size * size
        shards = windows["shard"].to_numpy(np.int64)
        index = windows["index"].to_numpy(np.int64)
        files = patch_set.shard_files()
        lengths = np.array([self._image_bytes, self._mask_bytes])
        headers = np.array([self._checked_headers(shard, lengths) for shard in range(len(files))], np.int64)
        records = np.array(patch_set.description.shards)[shards]
        self._files = np.array([[str(images), str(masks)] for images, masks in files])[shards]
        self._before = headers[shards] + index[:, None] * lengths
        self._after = (records - index - 1)[:, None] * lengths

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

    def __len__(self) -> int:
        return len(self.weights)

    def dataset(self, order: NDArray[np.int64]) -> Any:
        """Return windows in this order: (image (H, W, C) float32, mask (H, W) uint8)."""
        size, channels, dtype = self.patch_set.size_px, self.patch_set.channels, self.patch_set.dtype
        mean = tf.constant(self.patch_set.statistics.mean, tf.float32)

        def record(file: Any, before: Any, after: Any, length: int) -> Any:
            # all of the shard before and after the window is "header" and "footer": one record is left
            return tf.data.FixedLengthRecordDataset(file, length, before, after, buffer_size=length)

        def read(files: Any, before: Any, after: Any) -> Any:
            images = record(files[0], before[0], after[0], self._image_bytes)
            masks = record(files[1], before[1], after[1], self._mask_bytes)
            return tf.data.Dataset.zip((images, masks))

        def decode(image: Any, mask: Any) -> tuple[Any, Any]:
            values = tf.io.decode_raw(image, tf.dtypes.as_dtype(dtype))
            pixels = tf.cast(tf.reshape(values, (size, size, channels)), tf.float32)
            if np.dtype(dtype).kind == "f":  # NaN marks nodata
                pixels = tf.where(tf.math.is_finite(pixels), pixels, mean)
            return pixels, tf.reshape(tf.io.decode_raw(mask, tf.uint8), (size, size))

        places = tf.data.Dataset.from_tensor_slices((self._files[order], self._before[order], self._after[order]))
        records = places.interleave(
            plain_graph(read), cycle_length=_OPEN_FILES, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return records.map(plain_graph(decode), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_batches(reader: WindowReader, config: TrainingConfig, first: int, count: int) -> Any:
    """Return augmented, shuffled batches of the draws `first` … `first + count - 1`; the last may be smaller."""
    patch_set = reader.patch_set
    turn = geometry(config)
    tint = photometry(config, PixelRange.of(patch_set.dtype, patch_set.statistics.std))
    places = np.arange(first, first + count, dtype=np.int64)
    seeds = tf.data.Dataset.from_tensor_slices(np.stack([np.full_like(places, config.seed), places], axis=1))
    windows = tf.data.Dataset.zip((reader.dataset(draw_order(reader.weights, first, count, config.seed)), seeds))

    def change_batch(images: Any, masks: Any, chance: Any) -> tuple[Any, Any]:
        return tint(images, chance), masks

    def change_window(window: Any, seed: Any) -> tuple[Any, Any, Any]:
        chance = chances(seed)
        return (*turn(window[0], window[1], chance), chance)

    # what moves pixels goes window by window, what changes values goes faster for a whole batch
    turned = windows.map(plain_graph(change_window), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = turned.batch(config.batch_size).map(plain_graph(change_batch))
    return batches.prefetch(2)


def validation_batches(reader: WindowReader, batch_size: int) -> Any:
    """Return all windows once, unchanged, in order."""
    return reader.dataset(np.arange(len(reader))).batch(batch_size).prefetch(2)
