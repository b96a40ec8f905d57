"""Goes through the scenes of a patch set and has their held-out ground predicted and counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import shapely
from affine import Affine
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord, find_tag, materialise, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.evaluation.measure import GroundCounter, OnWindow, Rules
from satseg.evaluation.scene_rows import Predictor
from satseg.evaluation.tally import Tally
from satseg.evaluation.truth import HeldOutRows
from satseg.evaluation.windows import HeldOut, ShardReader, by_scene
from satseg.inference.ground import Ground
from satseg.patches.patchset import PatchSet
from satseg.progress import Advance, progress_bar
from satseg.scenes.grid import Grid
from satseg.scenes.raster import give_back_memory
from satseg.storage.layout import Workspace

WIDE_PX = 8192  # wider scenes are measured island by island, because memory grows with the width
BOUNDARY_PART = 0.02  # of the diagonal, as Cheng et al. have it


class Scenes:
    """Finds the scenes of the dataset version a patch set was cut from, one at a time."""

    def __init__(self, workspace: Workspace, patch_set: PatchSet) -> None:
        self._workspace, self._patch_set = workspace, patch_set
        self._items: tuple[str, dict[str, dict[str, Any]]] | None = None

    def find(self, scene: str) -> SceneRecord:
        """Return a scene whose file can be read.

        Raises:
            NotFoundError: the dataset version is gone, or holds no such scene.
        """
        project = self._patch_set.project
        if self._items is None:
            repository = GitRepository(self._workspace.data)
            commit = find_tag(repository, project, self._patch_set.dataset_version).commit
            self._items = commit, read_items(repository, project, commit)
        commit, items = self._items
        if scene not in items:
            raise NotFoundError(f"{self._patch_set.dataset_version} of project '{project}' has no scene '{scene}'.")
        return materialise(self._workspace, project, commit, {scene: items[scene]})[0]


@dataclass(frozen=True)
class ScenePass:
    """What is measured, with what; `run` measures it."""

    project: ProjectConfig
    patch_set: PatchSet
    scenes: Scenes
    predictor: Predictor
    tally: Tally
    on_window: OnWindow

    def run(self, windows: Sequence[HeldOut]) -> list[str]:
        """Predict and count all windows, scene by scene; returns warnings."""
        warnings = []
        with progress_bar("evaluating windows", len(windows)) as advance:
            for scene, of_scene in by_scene(windows):
                try:
                    record = self.scenes.find(scene)
                except NotFoundError as error:
                    warnings.append(
                        f"Scene {scene} is not there any more ({error}) Its windows were predicted one by one, without "
                        "the ground around them, and nodata pixels count as data."
                    )
                    self._windows_alone(of_scene, advance)
                else:
                    self._whole_scene(record, of_scene, advance)
        return warnings

    def _whole_scene(self, record: SceneRecord, windows: Sequence[HeldOut], advance: Advance) -> None:
        grid = Grid(record.width, record.height, Affine(*record.transform), record.crs)
        rules = rules_of(self.project, self.patch_set, Ground(grid).pixel_m2)
        reader = ShardReader(self.patch_set)
        for group in [windows] if record.width <= WIDE_PX else islands(windows):
            ground = HeldOutRows(group, record.height, record.width)
            counter = GroundCounter(self.tally, ground, reader, rules, self.on_window)
            rows = self.predictor.of_scene(record.path, ground, record.height, record.width)
            share = len(group) / (ground.bottom - ground.top)
            counter.count(rows, partial(_advance, advance, share))
            give_back_memory()

    def _windows_alone(self, windows: Sequence[HeldOut], advance: Advance) -> None:
        reader, rules = ShardReader(self.patch_set), rules_of(self.project, self.patch_set, None)
        places = {window.number: window for window in windows}
        bottom, right = (max(getattr(one, side) + one.size for one in windows) for side in ("row", "col"))
        ground = HeldOutRows(windows, bottom, right)

        def at_its_place(window: HeldOut, ids: Any, valid: Any) -> None:
            self.on_window(places[window.number], ids, valid)

        for position, window in enumerate(windows):
            image, counted = reader.image(window), ground.own_pixels(position)
            alone = HeldOutRows([replace(window, row=0, col=0)], *counted.shape)
            counter = GroundCounter(self.tally, alone, reader, rules, at_its_place)
            counter.count(self.predictor.of_window(image, counted, alone), lambda height: None)
            advance()


def _advance(advance: Advance, share: float, height: int) -> None:
    advance(height * share)


def islands(windows: Sequence[HeldOut]) -> list[list[HeldOut]]:
    """Return groups of windows that touch or overlap, from top to bottom.

    No object and no contour reaches from one to another, so each can be measured by itself, in the memory it needs.
    """
    boxes = [shapely.box(one.col, one.row, one.col + one.size, one.row + one.size) for one in windows]
    pairs = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    touches = coo_array((np.ones(pairs.shape[1]), pairs), shape=(len(boxes), len(boxes)))
    groups: dict[int, list[HeldOut]] = {}
    for group, window in zip(connected_components(touches, directed=False)[1].tolist(), windows, strict=True):
        groups.setdefault(group, []).append(window)
    return list(groups.values())


def rules_of(project: ProjectConfig, patch_set: PatchSet, pixel_m2: float | None) -> Rules:
    """Turn the project's lengths and areas into pixels of a scene.

    A scene without a CRS is taken to have the patch set's GSD, and without that too a pixel counts as 1 m.
    """
    config, area = project.evaluation, pixel_m2 or (patch_set.gsd_m or 1.0) ** 2
    if config.boundary_m is None:
        boundary = BOUNDARY_PART * math.sqrt(2) * patch_set.size_px
    else:
        boundary = config.boundary_m / math.sqrt(area)
    return Rules(
        threshold=project.inference.threshold,
        boundary_px=max(1, round(boundary)),
        least_object_px=max(1, math.ceil(project.inference.min_area_m2 / area)),
        size_edges_px=(config.small_below_m2 / area, config.large_from_m2 / area),
    )
