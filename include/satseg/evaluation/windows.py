"""Read test windows with their labels and with the pixels that hold data."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from satseg.datasets.catalog import find_tag, materialise, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.patches.patchset import PatchSet
from satseg.scenes.raster import SceneReader, open_scene
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class HeldOut:
    """One test window: a row of the manifest, numbered in the patch set's order."""

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


@dataclass(frozen=True)
class Batch:
    """N windows of one scene, ready to be predicted and scored.

    images (N, H, W, C) in the scenes' dtype, labels (N, H, W) uint8 class ids, valid (N, H, W) bool.
    """

    windows: tuple[HeldOut, ...]
    images: NDArray[Any]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


class WindowReader:
    """Reads windows of a patch set; a context manager, because scenes stay open between windows.

    Pixels that an earlier one of `windows` holds too are not valid: each pixel of a scene counts once.

    Shards hold pixels and labels. Which pixels are nodata is known only to the scene, so windows that have any are
    looked up there; when the dataset version is gone, `warnings` says so and all their pixels count.
    """

    def __init__(self, workspace: Workspace, patch_set: PatchSet, windows: Sequence[HeldOut] = ()) -> None:
        self.warnings: list[str] = []
        self._workspace, self._patch_set = workspace, patch_set
        self._shard: tuple[int, NDArray[Any], NDArray[np.uint8]] | None = None
        self._scene: tuple[str, SceneReader | None] | None = None
        self._items: dict[str, dict[str, Any]] | None = None
        self._open = ExitStack()
        self._repeated = repeated_parts(windows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, windows: Sequence[HeldOut]) -> Batch:
        """Return windows of one scene with their pixels."""
        images, labels, valid = [], [], []
        for window in windows:
            shard_images, shard_masks = self._arrays(window.shard)
            images.append(np.asarray(shard_images[window.index]))
            labels.append(np.asarray(shard_masks[window.index]))
            valid.append(self._valid(window))
        return Batch(tuple(windows), np.stack(images), np.stack(labels), np.stack(valid))

    def _arrays(self, shard: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        if self._shard is None or self._shard[0] != shard:  # one mapped shard at a time bounds the resident set
            self._shard = (shard, self._patch_set.images(shard), self._patch_set.masks(shard))
        return self._shard[1], self._shard[2]

    def _valid(self, window: HeldOut) -> NDArray[np.bool_]:
        scene = self._scene_of(window.scene) if window.nodata_fraction > 0 else None
        if scene is None:
            valid = np.ones((window.size, window.size), dtype=bool)
        else:
            valid = scene.valid_mask(window.row, window.col, window.size, window.size)
        for rows, cols in self._repeated.get(window.number, ()):
            valid[rows, cols] = False
        return valid

    def _scene_of(self, scene: str) -> SceneReader | None:
        if self._scene is None or self._scene[0] != scene:
            self._open.close()
            path = self._path(scene)
            self._scene = (scene, self._open.enter_context(open_scene(path)) if path is not None else None)
        return self._scene[1]

    def _path(self, scene: str) -> Path | None:
        project, wanted = self._patch_set.project, self._patch_set.dataset_version
        try:
            repository = GitRepository(self._workspace.data)
            commit = find_tag(repository, project, wanted).commit
            if self._items is None:
                self._items = read_items(repository, project, commit)
        except NotFoundError as error:
            self.warnings.append(f"Nodata pixels of scene {scene} are counted as data: {error}")
            return None
        return materialise(self._workspace, project, commit, {scene: self._items[scene]})[0].path


def repeated_parts(windows: Sequence[HeldOut]) -> dict[int, list[tuple[slice, slice]]]:
    """Return, by window number, the (rows, columns) of a window that earlier windows of the same scene cover.

    The last windows of a row or column of windows are shifted inward to end at the edge and overlap their neighbours.
    """
    cells: dict[tuple[str, int, int], list[HeldOut]] = defaultdict(list)
    parts: dict[int, list[tuple[slice, slice]]] = defaultdict(list)
    for window in windows:
        rows = (window.row // window.size, (window.row + window.size - 1) // window.size)
        cols = (window.col // window.size, (window.col + window.size - 1) // window.size)
        touched = {(window.scene, row, col) for row in rows for col in cols}
        earlier = {other.number: other for cell in touched for other in cells[cell]}
        for other in earlier.values():
            down, right = other.row - window.row, other.col - window.col
            if abs(down) < window.size and abs(right) < window.size:
                parts[window.number].append((_shared(down, window.size), _shared(right, window.size)))
        for cell in touched:
            cells[cell].append(window)
    return dict(parts)


def _shared(offset: int, size: int) -> slice:
    return slice(max(offset, 0), size + min(offset, 0))


def held_out(patch_set: PatchSet) -> list[HeldOut]:
    """Return the test windows of a patch set."""
    names = [field.name for field in fields(HeldOut) if field.name != "number"]
    rows: list[Any] = patch_set.windows("test")[names].to_dict("records")
    return [HeldOut(number=number, **row) for number, row in enumerate(rows)]
