"""Images as rows of numbers: TensorFlow calculates with rows many times faster than with three bands per pixel."""

from typing import Any

from satseg.models.keras.runtime import tf


def as_rows(image: Any) -> Any:
    """Return (…, H, W, C) as (…, H, W·C); nothing is copied."""
    *outer, width, bands = image.shape
    return tf.reshape(image, [-1 if size is None else size for size in outer] + [width * bands])


def as_image(rows: Any, bands: int) -> Any:
    """Return (…, H, W·C) as (…, H, W, C); nothing is copied."""
    *outer, length = rows.shape
    return tf.reshape(rows, [-1 if size is None else size for size in outer] + [length // bands, bands])


def row_of(bands: Any, width: int) -> Any:
    """Repeat numbers per band, (…, C), for each pixel of a row, (…, W·C)."""
    return tf.tile(bands, [1] * (len(bands.shape) - 1) + [width])
