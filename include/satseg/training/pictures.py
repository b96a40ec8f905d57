"""Pictures of a training for people: the learning curve and predictions beside the truth."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.models.interface import Segmenter
from satseg.patches.patchset import PatchSet
from satseg.training.run_folder import EpochRecord

SAMPLES = 6


def draw_learning_curve(history: list[EpochRecord], path: Path) -> None:
    """Write a PNG with both losses and the val IoU over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    losses.plot(epochs, [record.loss for record in history], label="training")
    losses.plot(epochs, [record.val_loss for record in history], label="validation")
    losses.set(xlabel="epoch", title="loss")
    losses.legend()
    scores.plot(epochs, [record.val_iou for record in history], label="IoU")
    scores.plot(epochs, [record.val_dice for record in history], label="Dice")
    scores.set(xlabel="epoch", title="validation", ylim=(0, 1))
    scores.legend()
    figure.savefig(path, dpi=100, format="png")


def sample_windows(patch_set: PatchSet, count: int = SAMPLES) -> list[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Return (image (H, W, C), mask (H, W) uint8) of val windows, spread over those with something in them."""
    windows = patch_set.windows("val")
    positive = windows[windows["positive"]]
    chosen = positive if len(positive) else windows
    places = np.unique(np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int))
    return [
        (
            np.array(patch_set.images(int(row["shard"]))[row["index"]]),
            np.array(patch_set.masks(int(row["shard"]))[row["index"]]),
        )
        for _, row in chosen.iloc[places].iterrows()
    ]


def _picture(image: NDArray[Any], patch_set: PatchSet) -> NDArray[np.float64]:
    bands = [0, 1, 2] if image.shape[-1] >= 3 else [0, 0, 0]
    mean, std = np.array(patch_set.statistics.mean)[bands], np.array(patch_set.statistics.std)[bands]
    stretched: NDArray[np.float64] = np.nan_to_num((image[..., bands] - (mean - 2 * std)) / (4 * std)).clip(0, 1)
    return stretched


def draw_samples(segmenter: Segmenter, patch_set: PatchSet, path: Path) -> None:
    """Write a PNG with a row per val window: image, truth, probability that a pixel belongs to any class."""
    from matplotlib.figure import Figure

    samples = sample_windows(patch_set)
    figure = Figure(figsize=(6.6, 2.2 * len(samples)), layout="constrained")
    grid = figure.subplots(len(samples), 3, squeeze=False)
    for row, (image, mask) in zip(grid, samples, strict=True):
        probabilities = segmenter.predict(image[np.newaxis])[0]
        foreground = probabilities[..., 0] if probabilities.shape[-1] == 1 else 1.0 - probabilities[..., 0]
        row[0].imshow(_picture(image, patch_set))
        row[1].imshow(mask, vmin=0, vmax=max(1, len(patch_set.classes)), interpolation="nearest")
        row[2].imshow(foreground, vmin=0, vmax=1)
        for axes in row:
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("image", "truth", "probability"), strict=True):
        axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100, format="png")
