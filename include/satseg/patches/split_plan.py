"""The fixed split plan: which ground is train, val or test, extended by later versions and never changed."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError

from satseg.config.patches import PatchConfig, SplitBy
from satseg.config.project import content_id
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError
from satseg.patches.patchset import first_problem
from satseg.patches.windows import Block
from satseg.storage.atomic import write_text

PLAN_FILE = "split.json"


def packed(points: Iterable[Sequence[float]]) -> "array[float]":
    """Return the corners of a block as one array x, y, x, y and so on, a third of what tuples take."""
    return array("d", chain.from_iterable(points))


def corners(ring: "array[float] | None") -> list[tuple[float, float]]:
    """Return what `packed` was given; nothing for a block in pixel space."""
    return [] if ring is None else list(zip(ring[::2], ring[1::2], strict=True))


Ring = Annotated[Any, PlainValidator(packed), PlainSerializer(corners)]
SplitName = Literal["train", "val", "test"]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """One block: its pixels (top, left, bottom, right), its corners in longitude and latitude, and its fate.

    Not a pydantic model, because a gigapixel scene has thousands and they would take three times the memory.
    """

    name: str
    rect: tuple[int, int, int, int]
    lonlat: Ring | None
    split: SplitName
    cohort: str


class PlannedScene(_Stored):
    """The blocks of one scene as it lay when they were assigned, row by row."""

    scene: str
    crs: str | None
    transform: tuple[float, ...]
    height: int
    width: int
    blocks: tuple[PlannedBlock, ...]

    def grid(self) -> list[Block]:
        """Return the blocks' geometry."""
        return [Block(block.name, *block.rect) for block in self.blocks]

    def with_splits(self, splits: Sequence[SplitName]) -> "PlannedScene":
        """Return the same blocks in these splits."""
        pairs = zip(self.blocks, splits, strict=True)
        return self.model_copy(update={"blocks": tuple(replace(block, split=split) for block, split in pairs)})

    def splits(self) -> dict[str, str]:
        """Return the split of each block."""
        return {block.name: block.split for block in self.blocks}


class SplitPlan(_Stored):
    """All blocks ever assigned under one choice of block size, fractions and seed."""

    key: str
    block_px: int
    val_fraction: float
    test_fraction: float
    seed: int
    reference_version: str
    split_by: SplitBy = "blocks"
    scenes: dict[str, PlannedScene] = {}

    def scene(self, record: SceneRecord) -> PlannedScene:
        """Return the blocks of a scene as it lies now.

        Raises:
            BadDataError: they are not assigned yet.
        """
        planned = self.scenes.get(grid_key(record))
        if planned is None:
            raise BadDataError(
                f"The blocks of scene '{record.id}' are not assigned yet. Run satseg patch with --step plan first."
            )
        return planned

    def before(self, record: SceneRecord) -> list[PlannedScene]:
        """Return the scenes that an earlier version had assigned when a scene was, in any state of theirs."""
        cohort = self.scene(record).blocks[0].cohort
        assigned = list(self.scenes.values())
        return assigned[: next(i for i, scene in enumerate(assigned) if scene.blocks[0].cohort == cohort)]

    def missing(self, records: Iterable[SceneRecord]) -> list[SceneRecord]:
        """Return the scenes whose blocks are not assigned yet."""
        return [record for record in records if grid_key(record) not in self.scenes]

    def is_reference(self, block: PlannedBlock) -> bool:
        """Whether a block is held out since the first patch set."""
        return block.split != "train" and block.cohort == self.reference_version

    def with_scenes(self, scenes: dict[str, PlannedScene]) -> "SplitPlan":
        """Return the plan with more scenes."""
        return self.model_copy(update={"scenes": {**self.scenes, **scenes}})


class _PlanFile(_Stored):
    schema_version: Literal[1] = 1
    plans: dict[str, SplitPlan] = {}


def grid_key(record: SceneRecord) -> str:
    """Return the key of a scene's blocks: a scene replaced by one of another size or place gets new ones."""
    return f"{record.id}@{content_id(record.crs, list(record.transform), record.height, record.width)[:8]}"


def empty_plan(config: PatchConfig, version: str) -> SplitPlan:
    """Return a plan without blocks, whose first blocks will be those of `version`."""
    what: list[object] = [config.block_px, config.val_fraction, config.test_fraction, config.seed]
    if config.split_by != "blocks":
        what.append(config.split_by)
    return SplitPlan(
        key=content_id("split", *what),
        split_by=config.split_by,
        block_px=config.block_px,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
        reference_version=version,
    )


def read_plans(folder: Path) -> dict[str, SplitPlan]:
    """Return the split plans of a project by key.

    Raises:
        BadDataError: the file is damaged; it is not replaced, because it says which ground was never trained on.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        return {}
    try:
        return _PlanFile.model_validate_json(path.read_text(encoding="utf-8")).plans
    except (OSError, ValueError, ValidationError) as error:
        raise BadDataError(
            f"The split plan {path} is damaged ({first_problem(error)}). Restore it from a backup; removing it starts "
            "a new split, in which earlier models may have been trained on the new test blocks."
        ) from error


def write_plan(folder: Path, plan: SplitPlan) -> None:
    """Store a plan beside those of other parameters. Call it holding the project's plan lock."""
    stored = _PlanFile(plans={**read_plans(folder), plan.key: plan})
    write_text(folder / PLAN_FILE, stored.model_dump_json(indent=2) + "\n")
