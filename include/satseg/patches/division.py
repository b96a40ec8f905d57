"""Dividing new scenes: blocks on ground that is assigned already take its split, the others are assigned."""

from array import array
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from satseg.annotations.masks import PolygonIndex
from satseg.config.project import ProjectConfig, content_id
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError
from satseg.patches.assignment import assign, assign_together
from satseg.patches.block_table import FREE, TEST, TRAIN, VAL, BlockTable
from satseg.patches.blocks import class_areas, valid_areas
from satseg.patches.ground import WGS84, ground_of, near_longitude, overlap_shares
from satseg.patches.probes import join, probe_scene
from satseg.patches.split_plan import PlannedBlock, PlannedScene, SplitName, SplitPlan, corners, grid_key, packed
from satseg.patches.windows import axis_edges, block_grid

NAMES: dict[int, SplitName] = {TRAIN: "train", VAL: "val", TEST: "test"}
NUMBERS = {name: number for number, name in NAMES.items()}
INHERIT_SHARE = 0.5 - 1e-6


def extend(
    plan: SplitPlan,
    records: Sequence[SceneRecord],
    project: ProjectConfig,
    version: str,
    named: dict[str, SplitName] | None = None,
) -> SplitPlan:
    """Return the plan with the blocks of all `records` assigned; blocks it has keep their split.

    Args:
        plan: what is assigned already.
        records: all labelled scenes.
        project: patch parameters and classes.
        version: dataset version that new blocks are noted with.
        named: for a plan split by column, the split of each scene.

    Raises:
        BadDataError: there are too few blocks or scenes to hold out ground for val and test.
    """
    pending = plan.missing(records)
    if named is not None:
        drafts = {grid_key(record): (_draft(record, plan, version), named[record.id]) for record in pending}
        plan = plan.with_scenes(
            {key: draft.with_splits([split] * len(draft.blocks)) for key, (draft, split) in drafts.items()}
        )
        pending = []
    while pending:
        # scenes that overlap come one after the other, so that the later inherit from the earlier
        batch: list[SceneRecord] = []
        for record in pending:
            if not any(_overlap(record, other) for other in batch):
                batch.append(record)
        plan = _divide(plan, batch, records, project, version)
        pending = plan.missing(records)
    _check_held_out(plan, records, project)
    return plan


def _overlap(a: SceneRecord, b: SceneRecord) -> bool:
    if _same_picture(a, b):
        return True
    if a.footprint_wgs84 is None or b.footprint_wgs84 is None:
        return False
    (west, south, east, north), (w, s, e, n) = a.footprint_wgs84, b.footprint_wgs84
    east, e = east + 360 * (west > east), e + 360 * (w > e)  # across the 180th meridian
    return max(south, s) < min(north, n) and any(max(west, w + t) < min(east, e + t) for t in (0, 360, -360))


def _same_picture(a: SceneRecord, b: SceneRecord) -> bool:
    same = a.checksum == b.checksum or a.source_checksum == b.source_checksum
    return same and (a.height, a.width) == (b.height, b.width)


def _divide(
    plan: SplitPlan, batch: list[SceneRecord], records: Sequence[SceneRecord], project: ProjectConfig, version: str
) -> SplitPlan:
    """Assign the blocks of new scenes that do not overlap each other, in sight of all assigned ones."""
    drafts = {grid_key(record): _draft(record, plan, version) for record in batch}
    inherited = {grid_key(record): _inherited(record, drafts[grid_key(record)], plan, records) for record in batch}
    by_scene = plan.split_by == "scene"
    if by_scene:
        inherited = {key: np.full(len(splits), _majority(splits)) for key, splits in inherited.items()}
    areas, scene_numbers, places, fixed, probes = [], [], [], [], []
    known = [record for record in records if grid_key(record) in plan.scenes or grid_key(record) in drafts]
    for number, record in enumerate(known):
        key = grid_key(record)
        planned = drafts.get(key) or plan.scenes[key]
        scene_areas = _areas(record, planned, project)
        splits = inherited.get(key, np.array([NUMBERS[block.split] for block in planned.blocks]))
        empty = scene_areas[:, 0] < (1 - project.patches.max_nodata_fraction) * _sizes(planned)
        if project.patches.edge == "drop":
            empty |= _extents(planned).min(axis=1) < project.patches.size_px  # no window fits
        fixed.append(np.where(empty & (splits == FREE) & (not by_scene), TRAIN, splits))
        areas.append(scene_areas * ~empty[:, None])
        scene_numbers.append(np.full(len(splits), number))
        places.append(_places(planned))
        margin = ground_of(record).margin(project.patches)
        probes.append(probe_scene(planned.grid(), areas[-1], project.patches.size_px, margin))
    table = BlockTable(
        np.vstack(areas), np.concatenate(scene_numbers), np.vstack(places), np.concatenate(fixed), join(probes)
    )
    fractions = (1 - plan.val_fraction - plan.test_fraction, plan.val_fraction, plan.test_fraction)
    seed = int(content_id(plan.seed, sorted(drafts)), 16)
    splits = assign_together(table, table.scene, fractions, seed) if by_scene else assign(table, fractions, seed)
    assigned = {}
    for number, record in enumerate(known):
        key = grid_key(record)
        if key in drafts:
            names = [NAMES[int(split)] for split in splits[table.scene == number]]
            assigned[key] = drafts[key].with_splits(names)
    return plan.with_scenes(assigned)


def _draft(record: SceneRecord, plan: SplitPlan, version: str) -> PlannedScene:
    """Return a scene's blocks, all 'train' for now."""
    ground = ground_of(record)
    grid = block_grid(record.id, record.height, record.width, plan.block_px)
    rings: list[array[float] | None] = [None] * len(grid)
    if record.crs is not None:
        edges = np.array([block[1:] for block in grid], dtype=float)
        outlines = ground.corners(edges, WGS84)
        rings = [packed((round(x, 9), round(y, 9)) for x, y in ring.tolist()) for ring in outlines]
    return PlannedScene(
        scene=record.id,
        crs=record.crs,
        transform=record.transform,
        height=record.height,
        width=record.width,
        blocks=tuple(
            PlannedBlock(name=block.name, rect=block[1:], lonlat=ring, split="train", cohort=version)
            for block, ring in zip(grid, rings, strict=True)
        ),
    )


def _inherited(
    record: SceneRecord, draft: PlannedScene, plan: SplitPlan, records: Sequence[SceneRecord]
) -> NDArray[np.int64]:
    """Return the splits of blocks that lie at least half on ground assigned before, FREE for the others.

    Of a picture that is there already, the same block's split. Test ground stays test before val stays val: what
    was held out must not be trained on.
    """
    twins = [other for other in records if grid_key(other) in plan.scenes and _same_picture(record, other)]
    splits = np.full(len(draft.blocks), FREE)
    for twin in twins:
        splits = np.maximum(splits, [NUMBERS[block.split] for block in plan.scene(twin).blocks])
    if draft.crs is None or not plan.scenes:
        return splits
    longitude = corners(draft.blocks[0].lonlat)[0][0]
    polygons = _outlines(draft.blocks, longitude)
    extent = shapely.MultiPolygon(polygons.tolist()).bounds
    for split in ("train", "val", "test"):  # the later win
        for scene in plan.scenes.values():
            if scene.crs is None:
                continue
            others = _outlines([block for block in scene.blocks if block.split == split], longitude)
            near = [other for other in others if shapely.box(*other.bounds).intersects(shapely.box(*extent))]
            inherits = overlap_shares(polygons.tolist(), near) >= INHERIT_SHARE
            splits[inherits] = np.maximum(splits[inherits], NUMBERS[split])
    return splits


def _outlines(blocks: Sequence[PlannedBlock], longitude: float) -> NDArray[np.object_]:
    """Return the blocks in longitude and latitude as polygons that no meridian cuts."""
    rings = np.array([corners(block.lonlat) for block in blocks]).reshape(-1, 4, 2)
    polygons: NDArray[np.object_] = shapely.polygons(near_longitude(rings, longitude))
    return polygons


def _majority(splits: NDArray[np.int64]) -> int:
    """Return the split that at least half of a scene's blocks inherit, FREE when there is none."""
    shares = {split: float((splits == split).mean()) for split in (TEST, VAL, TRAIN)}
    return next((split for split, share in shares.items() if share >= INHERIT_SHARE), FREE)


def _areas(record: SceneRecord, planned: PlannedScene, project: ProjectConfig) -> NDArray[np.float64]:
    """Return the pixels with data and those of each class in each block, (B, 1 + classes)."""
    grid = planned.grid()
    valid = valid_areas(record, grid, project.patches.block_px)
    if record.annotations is None:
        return np.hstack([valid[:, None], np.zeros((len(grid), len(project.classes)))])
    polygons = PolygonIndex.read(record.annotations)
    return np.hstack([valid[:, None], class_areas(polygons, grid, ground_of(record).transform, len(project.classes))])


def _extents(planned: PlannedScene) -> NDArray[np.int64]:
    """Return height and width of each block, (B, 2)."""
    rects = np.array([block.rect for block in planned.blocks])
    extents: NDArray[np.int64] = rects[:, 2:] - rects[:, :2]
    return extents


def _sizes(planned: PlannedScene) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = _extents(planned).astype(float).prod(axis=1)
    return sizes


def _places(planned: PlannedScene) -> NDArray[np.int64]:
    rects = np.array([block.rect for block in planned.blocks])
    _, rows = np.unique(rects[:, 0], return_inverse=True)
    _, cols = np.unique(rects[:, 1], return_inverse=True)
    return np.stack([rows, cols], axis=1)


def _check_held_out(plan: SplitPlan, records: Sequence[SceneRecord], project: ProjectConfig) -> None:
    splits = [block.split for record in records for block in plan.scene(record).blocks]
    wanted = {"train": 1.0, "val": plan.val_fraction, "test": plan.test_fraction}
    missing = " and ".join(split for split, fraction in wanted.items() if fraction > 0 and split not in splits)
    if not missing:
        return
    if plan.split_by == "column":
        raise BadDataError(
            f"The given splits of {len(records)} labelled scene(s) leave none for {missing}. Name a scene of it, or "
            "set patches.val_fraction or patches.test_fraction to 0, which does without."
        )
    if plan.split_by == "scene":
        raise BadDataError(
            f"{len(records)} labelled scene(s) leave none for {missing}: patches.split_by 'scene' needs at least three "
            "on different ground. Add labelled scenes, or set patches.split_by to 'blocks'."
        )
    raise BadDataError(
        f"{len(records)} labelled scene(s) give {len(splits)} block(s) of patches.block_px = {plan.block_px} "
        f"pixels, and none is left for {missing}: at least three blocks with data on different "
        f"ground are needed. {_way_out(records, project)}"
    )


def _way_out(records: Sequence[SceneRecord], project: ProjectConfig) -> str:
    """Say which smaller block, or which other key, would do."""
    size = project.patches.size_px
    if project.patches.edge == "drop" and all(min(record.height, record.width) < size for record in records):
        return f"No scene holds a whole window of {size} px: set patches.edge to 'shift', or lower patches.size_px."
    for block_px in range(project.patches.block_px - size, 0, -size):
        edges = ((axis_edges(record.height, block_px), axis_edges(record.width, block_px)) for record in records)
        if sum((len(rows) - 1) * (len(cols) - 1) for rows, cols in edges) >= 3:
            return f"Set patches.block_px to {block_px}, or add labelled scenes."
    return "Add labelled scenes, or lower patches.size_px and patches.block_px (a smaller patch needs a smaller block)."
