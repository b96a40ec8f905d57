"""The learning rate over a training."""

import math
from collections.abc import Iterable


def learning_rate(progress: float, peak: float, warmup_fraction: float) -> float:
    """Return a linear warm-up to `peak`, then half a cosine down to 0.

    Args:
        progress: done part of the training, 0..1.
        peak: largest learning rate.
        warmup_fraction: part of the training in which the rate rises.

    Source: Loshchilov and Hutter 2017, SGDR, equation 5 (one period); Goyal et al. 2017, section 2.2 (warm-up).
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup_fraction:
        return peak * progress / warmup_fraction
    if warmup_fraction >= 1.0:
        return peak
    return peak * 0.5 * (1.0 + math.cos(math.pi * (progress - warmup_fraction) / (1.0 - warmup_fraction)))


def plateaus(val_ious: Iterable[float], patience: int) -> int:
    """Return how often `patience` epochs in a row brought no better val IoU; the count starts over each time.

    A function of the history alone, so that a resumed training goes on with the same learning rate.
    """
    best, stale, found = -1.0, 0, 0
    for iou in val_ious:
        best, stale = (iou, 0) if iou > best else (best, stale + 1)
        if stale == patience:
            stale, found = 0, found + 1
    return found
