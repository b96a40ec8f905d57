"""Held-out windows of a patch set and what its shards hold of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.patches.patchset import PatchSet


@dataclass(frozen=True)
class HeldOut:
    """One test or validation window: a row of the manifest, numbered in the patch set's order."""

    number: int
    scene: str
    row: int
    col: int
    size: int
    block: str
    reference: bool
    positive: bool
    nodata_fraction: float
    shard: int
    index: int
    split: str = "test"


@dataclass(frozen=True)
class Batch:
    """N windows of one scene, ready to be drawn.

    images (N, H, W, C) in the scenes' dtype, labels (N, H, W) uint8 class ids, valid (N, H, W) bool: what is scored.
    """

    windows: tuple[HeldOut, ...]
    images: NDArray[Any]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


class ShardReader:
    """Reads windows of a patch set, with one shard mapped at a time, which bounds the resident set."""

    def __init__(self, patch_set: PatchSet) -> None:
        self._patch_set = patch_set
        self._images: tuple[int, NDArray[Any]] | None = None
        self._masks: tuple[int, NDArray[np.uint8]] | None = None

    def image(self, window: HeldOut) -> NDArray[Any]:
        """Return a window's pixels (size, size, C); nodata is 0."""
        if self._images is None or self._images[0] != window.shard:
            self._images = (window.shard, self._patch_set.images(window.shard))
        return np.asarray(self._images[1][window.index])

    def mask(self, window: HeldOut, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Return rows start..stop of a window's class ids, (rows, size) uint8."""
        if self._masks is None or self._masks[0] != window.shard:
            self._masks = (window.shard, self._patch_set.masks(window.shard))
        return np.asarray(self._masks[1][window.index, start:stop])


def held_out(patch_set: PatchSet, split: str = "test", first_number: int = 0) -> list[HeldOut]:
    """Return the kept windows of a split of a patch set, numbered from `first_number` on."""
    names = [field.name for field in fields(HeldOut) if field.name != "number"]
    rows: list[Any] = patch_set.windows(split)[names].to_dict("records")
    return [HeldOut(number=number, **row) for number, row in enumerate(rows, start=first_number)]


def evenly(windows: Sequence[HeldOut], count: int) -> list[HeldOut]:
    """Return at most `count` windows, spread evenly over all."""
    places = np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int)
    return [windows[place] for place in dict.fromkeys(places.tolist())]


def by_scene(windows: Sequence[HeldOut]) -> Iterator[tuple[str, list[HeldOut]]]:
    """Yield scenes and their windows, in order of scenes."""
    ordered = sorted(windows, key=lambda window: (window.scene, window.number))
    for scene, group in groupby(ordered, lambda window: window.scene):
        yield scene, list(group)
