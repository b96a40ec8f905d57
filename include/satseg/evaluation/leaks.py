"""Held-out ground that a model has seen all the same: checked on the ground, whatever the split plans say.

A model is measured on patch sets other than its own (a champion on a challenger's), and it may have started from
another model. So the windows of every patch set on its way, those that taught it and those that chose its epoch, are
compared with the test windows, also across scenes that show the same place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from satseg.datasets.catalog import find_tag, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError, SatsegError
from satseg.evaluation.windows import HeldOut, by_scene
from satseg.patches.ground import WGS84, SceneGround
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.storage.layout import Workspace
from satseg.tracking.runs import RunRecord, get_run

if TYPE_CHECKING:
    import pandas as pd

PATCH_SET_TAG, START_TAG = "satseg.patch_set", "satseg.init_from"
USED_SPLITS = ("train", "val")
TOLERANCE_PX = 0.01  # windows that only touch share no ground
Grounds = dict[str, SceneGround]


@dataclass
class Trained:
    """Numbers of the test windows on ground the model was trained on, and what could not be checked."""

    windows: set[int] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def trained_ground(
    workspace: Workspace, project_name: str, record: RunRecord, patch_set: PatchSet, windows: Sequence[HeldOut]
) -> Trained:
    """Find the test windows that share ground with a window the model, or one it started from, has learnt from."""
    found, grounds = Trained(), _Grounds(workspace, project_name)
    for name in _patch_sets(workspace, record, found.warnings):
        try:
            other = patch_set if name == patch_set.id else open_patch_set(workspace, project_name, name)
        except SatsegError as error:
            found.warnings.append(f"Whether the model was trained on this ground could not be checked: {error}")
            continue
        manifest = other.manifest()
        used = manifest[manifest["kept"] & manifest["split"].isin(USED_SPLITS)]
        if len(used):
            pair = grounds.of(patch_set), grounds.of(other)
            found.windows |= _shared(windows, used, *pair)
    if found.windows:
        found.warnings.append(
            f"{len(found.windows)} of {len(windows)} test windows were left out: the model was trained on their ground."
        )
    return found


def _patch_sets(workspace: Workspace, record: RunRecord, warnings: list[str]) -> list[str]:
    """Return the patch sets a run and the runs it started from were trained on."""
    names: dict[str, None] = {}
    seen: set[str] = set()
    while record.id not in seen:
        seen.add(record.id)
        if name := record.tags.get(PATCH_SET_TAG):
            names[name] = None
        start = record.tags.get(START_TAG, "")
        if not start:
            break
        try:
            record = get_run(workspace, start)
        except NotFoundError:
            warnings.append(f"What {start}, which the model started from, was trained on is not known here.")
            break
    return list(names)


class _Grounds:
    """Where the scenes of patch sets lie; nowhere where their dataset version is gone."""

    def __init__(self, workspace: Workspace, project_name: str) -> None:
        self._workspace, self._project, self._known = workspace, project_name, dict[str, Grounds]()

    def of(self, patch_set: PatchSet) -> Grounds:
        """Return the ground of each scene of a patch set's dataset version."""
        version = patch_set.dataset_version
        if version not in self._known:
            self._known[version] = self._read(version)
        return self._known[version]

    def _read(self, version: str) -> Grounds:
        repository = GitRepository(self._workspace.data)
        try:
            items = read_items(repository, self._project, find_tag(repository, self._project, version).commit)
        except NotFoundError:
            return {}
        return {scene: _ground(scene, item["properties"]) for scene, item in items.items()}


def _ground(scene: str, properties: dict[str, Any]) -> SceneGround:
    height, width = properties["proj:shape"]
    return SceneGround(scene, height, width, properties["satseg:crs"], Affine(*properties["proj:transform"][:6]))


def _shared(windows: Sequence[HeldOut], used: "pd.DataFrame", own: Grounds, others: Grounds) -> set[int]:
    near, by_name = _Near(others), dict(iter(used.groupby("scene")))
    found: set[int] = set()
    for scene, of_scene in by_scene(windows):
        here = own.get(scene)
        tree = shapely.STRtree([_box(one.row, one.col, one.size) for one in of_scene])
        for name in {scene, *near.scenes(here)} & by_name.keys():
            polygons = _in_pixels(by_name[name], others.get(name), here)
            if polygons is not None:
                hit = np.unique(tree.query(polygons, predicate="intersects")[1])
                found |= {of_scene[place].number for place in hit.tolist()}
    return found


def _in_pixels(
    used: "pd.DataFrame", theirs: SceneGround | None, ours: SceneGround | None
) -> NDArray[np.object_] | None:
    """Return windows as polygons in the pixels of our scene; without a CRS the scene of the same name is the same."""
    tops, lefts, sizes = (used[name].to_numpy(float) for name in ("row", "col", "size"))
    rects = np.stack([tops, lefts, tops + sizes, lefts + sizes], axis=1)
    rects += TOLERANCE_PX * np.array([1, 1, -1, -1])
    if theirs is None or ours is None or theirs.crs is None or ours.crs is None or theirs == ours:
        same = theirs is None or ours is None or theirs.scene == ours.scene
        boxes: NDArray[np.object_] = shapely.box(rects[:, 1], rects[:, 0], rects[:, 3], rects[:, 2])
        return boxes if same else None
    return theirs.outlines(rects, ours)


class _Near:
    """Finds scenes whose bounds in longitude and latitude meet."""

    def __init__(self, grounds: Grounds) -> None:
        placed = {name: box for name, ground in grounds.items() if (box := _bounds(ground)) is not None}
        self._names, self._tree = list(placed), shapely.STRtree(list(placed.values()))

    def scenes(self, ground: SceneGround | None) -> list[str]:
        """Return the names of the scenes that may show ground of this one."""
        bounds = None if ground is None else _bounds(ground)
        return [] if bounds is None else [self._names[place] for place in self._tree.query(bounds).tolist()]


def _bounds(ground: SceneGround) -> shapely.Polygon | None:
    if ground.crs is None:
        return None
    corners = ground.corners(np.array([[0.0, 0.0, ground.height, ground.width]]), WGS84)[0]
    if not np.isfinite(corners).all():
        return None
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    margin = 0.1 * max(east - west, north - south)  # the edges of a warped rectangle bulge
    return shapely.box(west - margin, south - margin, east + margin, north + margin)


def _box(row: int, col: int, size: int) -> shapely.Polygon:
    return shapely.box(col, row, col + size, row + size)
