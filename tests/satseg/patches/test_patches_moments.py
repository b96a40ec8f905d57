"""Streamed moments against NumPy on everything at once."""

import numpy as np
import pytest

from satseg.patches.moments import Moments


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 7])
def test_moments_equal_numpy(dtype: str, bands: int) -> None:
    rng = np.random.default_rng(0)
    images = (rng.normal(120, 30, (20, 16, 16, bands)).clip(0, 250)).astype(dtype)
    valid = rng.random((20, 16, 16)) > 0.3
    valid[3] = False
    total = Moments.none(bands)
    for image, mask in zip(images, valid, strict=True):
        total += Moments.of(image, mask)
    pixels = images[valid].astype(np.float64)
    assert total.count == len(pixels)
    np.testing.assert_allclose(total.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total.std(), pixels.std(axis=0), rtol=1e-10)


def test_a_large_offset_does_not_eat_the_deviation() -> None:
    rng = np.random.default_rng(1)
    images = (60_000 + rng.normal(0, 2, (50, 8, 8, 1))).astype(np.uint16)
    total = Moments.none(1)
    for image in images:
        total += Moments.of(image, np.ones((8, 8), dtype=bool))
    np.testing.assert_allclose(total.std(), images.astype(float).std(), rtol=1e-9)
