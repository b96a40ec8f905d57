"""Pictures of windows as NumPy arrays: true colour, class ids in colours, and what is right and wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from satseg.inference.palette import class_colour
from satseg.patches.patchset import PatchSet

RGB = NDArray[np.uint8]

# Okabe & Ito's palette, distinguishable with any colour vision
CORRECT, FALSE, MISSED = (0, 158, 115), (230, 120, 0), (0, 114, 230)
STRETCH_SIGMAS = 2.0


def true_colour(image: NDArray[np.generic], bands: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> RGB:
    """Return (H, W, 3) uint8 for a window (H, W, C) in raw units, stretched to two standard deviations.

    Red, green and blue are taken by band name; without them the first three bands, or the first as grey.
    """
    names = list(bands)
    if {"red", "green", "blue"} <= set(names):
        chosen = [names.index(name) for name in ("red", "green", "blue")]
    else:
        chosen = [0, 1, 2] if len(names) > 2 else [0, 0, 0]
    centre, spread = np.array(mean)[chosen], np.maximum(np.array(std)[chosen], 1e-9)
    unit = (image[..., chosen].astype(np.float64) - centre) / (2 * STRETCH_SIGMAS * spread) + 0.5
    stretched: RGB = (np.nan_to_num(unit).clip(0, 1) * 255).astype(np.uint8)
    return stretched


def patch_set_colour(image: NDArray[np.generic], patch_set: PatchSet) -> RGB:
    """Return a window of a patch set in true colour, (H, W, 3) uint8."""
    return true_colour(image, patch_set.bands, patch_set.statistics.mean, patch_set.statistics.std)


def coloured_classes(ids: NDArray[np.uint8]) -> RGB:
    """Return class ids (H, W) as the colours that predictions have, (H, W, 3) uint8; background is black."""
    palette = np.array([class_colour(class_id) for class_id in range(256)], np.uint8)
    coloured: RGB = palette[ids]
    return coloured


def agreement(
    colour: RGB, labels: NDArray[np.uint8], predicted: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None
) -> RGB:
    """Return the grey picture with right, false and missed pixels coloured, (H, W, 3) uint8; nodata stays grey."""
    grey = colour.mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.6 + 40
    counts = np.ones(labels.shape, bool) if valid is None else valid
    right = (labels == predicted) & (labels > 0)
    false = (predicted > 0) & ~right
    missed = (labels > 0) & (predicted == 0)
    for where, tint in ((right, CORRECT), (false, FALSE), (missed, MISSED)):
        chosen = where & counts
        grey[chosen] = 0.35 * grey[chosen] + 0.65 * np.array(tint)
    tinted: RGB = grey.clip(0, 255).astype(np.uint8)
    return tinted
