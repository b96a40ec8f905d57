"""The fixed split plan: which ground is train, val or test, extended by later versions and never changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.annotations.table import read_table
from satseg.config.project import PatchConfig, content_id
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError
from satseg.patches.assignment import FREE, TEST, TRAIN, VAL, BlockTable, assign
from satseg.patches.blocks import class_areas, valid_areas
from satseg.patches.ground import WGS84, ground_of, overlap_shares
from satseg.patches.windows import Block, block_grid
from satseg.storage.atomic import write_json

PLAN_FILE = "split.json"
NAMES: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
NUMBERS = {"train": TRAIN, "val": VAL, "test": TEST}
INHERIT_SHARE = 0.5 - 1e-9
Ring = tuple[tuple[float, float], ...]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PlannedBlock(_Stored):
    """One block: its pixels (top, left, bottom, right), its corners in longitude and latitude, its fate."""

    rect: tuple[int, int, int, int]
    lonlat: Ring | None
    split: Literal["train", "val", "test"]
    cohort: str


class PlannedScene(_Stored):
    """The blocks of one scene grid, row by row."""

    scene: str
    crs: str | None
    transform: tuple[float, ...]
    height: int
    width: int
    blocks: dict[str, PlannedBlock]

    def grid(self) -> list[Block]:
        """Return the blocks' geometry."""
        return [Block(name, *block.rect) for name, block in self.blocks.items()]

    def splits(self) -> dict[str, str]:
        """Return the split of each block."""
        return {name: block.split for name, block in self.blocks.items()}


class SplitPlan(_Stored):
    """All blocks ever assigned under one choice of block size, fractions and seed."""

    key: str
    block_px: int
    val_fraction: float
    test_fraction: float
    seed: int
    reference_version: str
    scenes: dict[str, PlannedScene] = {}

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Wanted area fractions of train, val and test."""
        return 1.0 - self.val_fraction - self.test_fraction, self.val_fraction, self.test_fraction

    def scene(self, record: SceneRecord) -> PlannedScene | None:
        """Return the blocks of a scene as it lies now, None when they are not assigned yet."""
        return self.scenes.get(grid_key(record))

    def is_reference(self, block: PlannedBlock) -> bool:
        """Whether a block is held out since the first patch set."""
        return block.split != "train" and block.cohort == self.reference_version


class _PlanFile(_Stored):
    schema_version: Literal[1] = 1
    plans: dict[str, SplitPlan] = {}


def grid_key(record: SceneRecord) -> str:
    """Return the key of a scene's blocks: a scene replaced by one of another size or place gets new ones."""
    return f"{record.id}@{content_id(record.crs, record.transform, record.height, record.width)[:8]}"


def plan_key(config: PatchConfig) -> str:
    """Return the id of the plan these parameters belong to."""
    return content_id("split", config.block_px, config.val_fraction, config.test_fraction, config.seed)


def read_plan(folder: Path, config: PatchConfig) -> SplitPlan | None:
    """Return the split plan for these parameters, None when there is none yet."""
    return _read(folder / PLAN_FILE).plans.get(plan_key(config))


def write_plan(folder: Path, plan: SplitPlan) -> bool:
    """Store a plan beside those of other parameters; returns whether it is the project's first."""
    plans = _read(folder / PLAN_FILE).plans
    first = not set(plans) - {plan.key}
    stored = _PlanFile(plans={**plans, plan.key: plan})
    # the order of blocks is the order of the grid, which sorted keys would break for ten and more
    text = stored.model_dump(mode="json")
    for entry in text["plans"].values():
        for scene in entry["scenes"].values():
            scene["blocks"] = [{"name": name, **block} for name, block in scene["blocks"].items()]
    write_json(folder / PLAN_FILE, text)
    return first
