"""What a patch set will be made of: its scenes, their blocks, and its content id."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from affine import Affine

from satseg.config.project import ProjectConfig, content_id
from satseg.datasets.catalog import DatasetVersion, SceneRecord, open_version, with_other_classes
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.patches.division import extend
from satseg.patches.ground import SceneGround, bounding_rects, ground_of, may_meet
from satseg.patches.hard_negatives import NO_HARD_NEGATIVES, HardNegatives, read_hard_negatives
from satseg.patches.patchset import is_complete
from satseg.patches.scene_layout import SceneLayout
from satseg.patches.split_column import check_unchanged, named_splits
from satseg.patches.split_plan import PlannedBlock, SplitPlan, empty_plan, read_plans, write_plan
from satseg.patches.windows import HeldOut, Margin, Rects, SceneBlocks, Windows, held_out_windows, no_rects, rects_of
from satseg.storage.atomic import exclusive, remove_stale_temps
from satseg.storage.layout import Workspace

SCHEMA = 1  # raise it when the same inputs give other patches
FEW_BLOCKS = 5000  # up to so many, laying out windows costs little next to reading the pixels of an impossible plan


@dataclass(frozen=True)
class PatchPlan:
    """One patch set to be: labelled scenes sorted by id, their blocks, and where it goes."""

    project: ProjectConfig
    version: DatasetVersion
    records: tuple[SceneRecord, ...]
    split: SplitPlan
    workspace: Workspace
    hard: HardNegatives = NO_HARD_NEGATIVES

    @cached_property
    def id(self) -> str:
        """Content id: scenes, labels, parameters, classes, bands, blocks, code schema; not the version's name."""
        # of files that parameters name, the content counts and not the path; a split file's content is in the blocks
        paths = ("hard_negatives", "split_file", "split_property")
        parameters = {key: value for key, value in self.project.patches.parameters().items() if key not in paths}
        if self.hard.digest:
            parameters["hard_negatives"] = self.hard.digest
        scenes = [(record.id, record.checksum, record.annotation_checksum) for record in self.records]
        blocks = [
            (block.name, block.split, self.split.is_reference(block))
            for record in self.records
            for block in self.split.scene(record).blocks
        ]
        what = self.project
        return content_id("patches", SCHEMA, what.name, what.classes, what.bands, parameters, scenes, blocks)

    @property
    def folder(self) -> Path:
        """Folder of the patch set."""
        return self.workspace.patch_set(self.project.name, self.id)

    @property
    def complete(self) -> bool:
        """Whether the patch set is there already."""
        return is_complete(self.workspace, self.project.name, self.id)

    def part(self, scene: str) -> Path:
        """Folder of one scene's extracted windows, until they are merged; it appears whole."""
        return self.folder / "parts" / scene / "part"

    def record(self, scene: str) -> SceneRecord:
        """Return a labelled scene by id.

        Raises:
            NotFoundError: there is none.
            BadDataError: the scene is there but has no labels.
        """
        for record in self.records:
            if record.id == scene:
                return record
        if scene in {record.id for record in self.version.scenes}:
            raise BadDataError(f"Scene '{scene}' of {self.version.name} has no labels, so it gives no patches.")
        known = ", ".join(record.id for record in self.records)
        raise NotFoundError(
            f"No scene '{scene}' in {self.version.name} of {self.project.name} (labelled ones: {known})."
        )

    def blocks(self, record: SceneRecord) -> SceneBlocks:
        """Return a scene's block grid and splits."""
        planned = self.split.scene(record)
        return SceneBlocks(record.height, record.width, planned.grid(), planned.splits())

    def planned_blocks(self) -> dict[str, PlannedBlock]:
        """Return all blocks of the patch set's scenes by name."""
        return {block.name: block for record in self.records for block in self.split.scene(record).blocks}

    def grounds(self) -> dict[str, SceneGround]:
        """Return where the scenes lie, by id."""
        return {record.id: ground_of(record) for record in self.records}

    def meeting(self, record: SceneRecord) -> list[SceneRecord]:
        """Return the other scenes that may lie within the buffer of a scene."""
        buffer_m, ground = self.project.patches.buffer_m, ground_of(record)
        others = (other for other in self.records if other.id != record.id)
        return [other for other in others if may_meet(ground, ground_of(other), buffer_m)]

    def windows(self, record: SceneRecord) -> Windows:
        """Lay out all windows of a scene, also those the buffer excludes."""
        config = self.project.patches
        ground = ground_of(record)
        margin = ground.margin(config)
        neighbours = self.meeting(record)

        def of_others(split: str) -> Rects:
            found = [no_rects()]
            for other in neighbours:
                windows = held_out_windows(self.blocks(other), split, config.size_px, config.edge)
                rects = rects_of(windows, config.size_px)
                found.append(bounding_rects(rects, ground_of(other), ground, margin))
            return np.vstack(found)

        foreign = HeldOut(test=of_others("test"), val=of_others("val"), trained=self._trained_before(record))
        return SceneLayout(self.blocks(record), foreign, margin, config).windows()

    def _trained_before(self, record: SceneRecord) -> Rects:
        """Return in a scene's pixels the train blocks that earlier versions had, also of scenes that are gone."""
        ground = ground_of(record)
        found = [no_rects()]
        for earlier in self.split.before(record):
            there = SceneGround(earlier.scene, earlier.height, earlier.width, earlier.crs, Affine(*earlier.transform))
            if may_meet(ground, there, 0.0):
                rects = np.array([block.rect for block in earlier.blocks if block.split == "train"]).reshape(-1, 4)
                found.append(bounding_rects(rects, there, ground, Margin(0, 0)))
        # bounds are rounded outward: what only touches them was not trained on
        inner: Rects = np.vstack(found) + np.array([1, 1, -1, -1])
        return inner


def make_plan(
    project: ProjectConfig, workspace: Workspace, version: str | None, may_extend: bool
) -> tuple[PatchPlan, list[str]]:
    """Plan a patch set of a dataset version; with `may_extend` its new scenes are added to the fixed split plan.

    Raises:
        NotFoundError: there is no such version.
        BadDataError: nothing is labelled, the scenes do not fit together, or there is too little ground to divide.
    """
    opened = open_version(workspace, project.name, version)
    records = tuple(sorted((record for record in opened.scenes if record.labelled), key=lambda record: record.id))
    _check_scenes(records, opened, project)
    folder = workspace.patches(project.name)
    hard = read_hard_negatives(project.patches, workspace)
    named = named_splits(project.patches, records, workspace) if project.patches.split_by == "column" else None
    fresh = empty_plan(project.patches, opened.name)
    stored = read_plans(folder)
    warnings: list[str] = []
    split = stored.get(fresh.key, fresh)
    if named is not None:
        check_unchanged(split, records, named)
    if may_extend and split.missing(records):
        with exclusive(workspace.lock(f"patches-{project.name}"), f"The split plan of project '{project.name}'"):
            remove_stale_temps(folder, "split.json")
            stored = read_plans(folder)
            split = extend(stored.get(fresh.key, fresh), records, project, opened.name, named)
            _check_train_left(PatchPlan(project, opened, records, split, workspace))
            write_plan(folder, split)
        if fresh.key not in stored and stored:
            warnings.append(
                "patches.block_px, val_fraction, test_fraction, split_by or seed changed, which starts a new split: "
                "its test blocks may be ground that earlier models were trained on."
            )
    plan = PatchPlan(project, opened, records, split, workspace, hard)
    if may_extend and not plan.complete:
        _check_train_left(plan)
    return plan, warnings


def _check_scenes(records: Sequence[SceneRecord], version: DatasetVersion, project: ProjectConfig) -> None:
    if not records:
        raise BadDataError(
            f"None of the {len(version.scenes)} scene(s) of {version.name} of project '{project.name}' is labelled. "
            "Put a label file with the scene's name (LabelMe .json or .geojson; an empty one says 'checked, nothing "
            "there') beside it and run satseg ingest again."
        )
    for what, values in (
        ("pixel type", {record.id: record.dtype for record in records}),
        ("number of bands", {record.id: str(len(record.bands)) for record in records}),
    ):
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{scene} {value}" for scene, value in values.items())
            raise BadDataError(
                f"The labelled scenes of {version.name} differ in {what}, and one patch set has one: {listed}. "
                "Convert them to the same, or keep them in projects of their own."
            )
    if numbered_otherwise := with_other_classes([record.item for record in records], project.classes):
        scenes = ", ".join(item["id"] for item in numbered_otherwise[:5])
        raise ConfigurationError(
            f"The labels of {version.name} (scenes {scenes}{', …' if len(numbered_otherwise) > 5 else ''}) have other "
            f"class ids than 'classes' of the project file now gives ({', '.join(project.classes)}). Run satseg "
            f"ingest -p {project.name}: it makes a version with these classes."
        )


def _check_train_left(plan: PatchPlan) -> None:
    if len(plan.planned_blocks()) > FEW_BLOCKS:
        return
    for record in sorted(plan.records, key=lambda record: record.height * record.width):
        if any(window.split == "train" and not window.reason for window in plan.windows(record)):
            return
    raise no_train_windows(plan.project)


def no_train_windows(project: ProjectConfig) -> BadDataError:
    """Return the error for a split that leaves nothing to train on."""
    config = project.patches
    return BadDataError(
        "No training window is left: none keeps the buffer to val and test windows. Lower patches.buffer_m "
        f"(now {config.buffer_m:g}; patches.buffer_px {config.buffer_px} for scenes without a CRS), patches.size_px "
        f"({config.size_px}), patches.val_fraction ({config.val_fraction:g}) or patches.test_fraction "
        f"({config.test_fraction:g}), raise patches.block_px ({config.block_px}), or add labelled scenes."
    )
