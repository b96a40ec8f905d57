"""Splits that the user names scene by scene: in a CSV file, or in a property of the scenes' STAC Items."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from satseg.config.patches import PatchConfig
from satseg.datasets.catalog import SceneRecord
from satseg.errors import ConfigurationError
from satseg.patches.split_plan import SplitName, SplitPlan
from satseg.progress import say
from satseg.storage.layout import Workspace

SPLIT_NAMES = get_args(SplitName)
COLUMNS = ("scene", "split")


def named_splits(config: PatchConfig, records: Sequence[SceneRecord], workspace: Workspace) -> dict[str, SplitName]:
    """Return the split of each scene as the file or the property says.

    Raises:
        ConfigurationError: the file cannot be read, or a scene has no split or one of another name.
    """
    if config.split_file is not None:
        where = f"patches.split_file {workspace.root / config.split_file}"
        found = _from_file(workspace.root / config.split_file)
        known = {record.id for record in records}
        if unknown := [scene for scene in found if scene not in known]:
            say(f"warning: {where} names {len(unknown)} scene(s) that are not labelled here: {', '.join(unknown[:5])}")
    else:
        where = f"STAC property '{config.split_property}'"
        found = {record.id: str(_property(record, str(config.split_property))) for record in records}
    wrong = [record.id for record in records if found.get(record.id) not in SPLIT_NAMES]
    if wrong:
        listed = ", ".join(f"{scene} ({found.get(scene) or 'missing'})" for scene in wrong[:5])
        raise ConfigurationError(
            f"{where} names no split for {len(wrong)} of {len(records)} labelled scenes: {listed}. "
            f"Each needs one of {', '.join(SPLIT_NAMES)}."
        )
    return {record.id: _as_split(found[record.id]) for record in records}


def check_unchanged(plan: SplitPlan, records: Sequence[SceneRecord], named: dict[str, SplitName]) -> None:
    """Check that no scene has another split than in an earlier patch set of the plan.

    Raises:
        ConfigurationError: one has.
    """
    for record in records:
        if record in plan.missing(records):
            continue
        before = plan.scene(record).blocks[0].split
        if before != named[record.id]:
            raise ConfigurationError(
                f"Scene '{record.id}' was {before} in earlier patch sets and is {named[record.id]} now: models have "
                "seen it so, and their scores would not compare. Give it its old split, or set another patches.seed, "
                "which starts a new split plan."
            )


def _property(record: SceneRecord, name: str) -> object:
    return record.item.get("properties", {}).get(name, "")


def _from_file(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigurationError(
                    f"patches.split_file {path} has no column {' and '.join(missing)}; its first line must be "
                    f"'{','.join(COLUMNS)}'."
                )
            return _rows(reader, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"patches.split_file {path} cannot be read ({error}). Correct the path.") from error


def _rows(reader: "csv.DictReader[str]", path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in reader:
        scene, split = ((row[name] or "").strip() for name in COLUMNS)
        if not scene or not split:
            raise ConfigurationError(f"patches.split_file {path}, line {reader.line_num}: give a scene and its split.")
        if found.setdefault(scene, split) != split:
            raise ConfigurationError(
                f"patches.split_file {path}, line {reader.line_num}: scene '{scene}' is {split} here and "
                f"{found[scene]} before. Give it one split."
            )
    return found


def _as_split(text: str) -> SplitName:
    return next(name for name in SPLIT_NAMES if name == text)
