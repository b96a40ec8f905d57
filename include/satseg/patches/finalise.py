"""Putting the scenes' parts together: shards, manifest, statistics, and the marker that makes a patch set complete."""

import shutil
from typing import TYPE_CHECKING

import numpy as np

from satseg.errors import BadDataError
from satseg.patches.extract import TABLE_FILE, Part, read_part
from satseg.patches.leaks import check_leaks
from satseg.patches.patchset import (
    LATEST_FILE,
    MANIFEST_FILE,
    PATCHSET_FILE,
    SPLITS,
    STATISTICS_FILE,
    PatchSetDescription,
    open_patch_set,
)
from satseg.patches.plan import PatchPlan, no_train_windows
from satseg.patches.shards import Record, Sources, arrange, write_shard
from satseg.patches.summary import describe, statistics_of
from satseg.patches.twins import DIGEST, check_twins
from satseg.progress import progress_bar
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_file, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("scene", "row", "col", "size", "split", "block", "cohort", "reference")
CONTENT_COLUMNS = ("positive", "hard_negative", "nodata_fraction")
LAST_COLUMNS = ("kept", "reason", "draw_weight", "shard", "index")


def finalise(plan: PatchPlan, force: bool = False) -> tuple[PatchSetDescription, bool]:
    """Merge the parts of all scenes into the patch set; returns it and whether it was made here and now.

    Raises:
        BadDataError: a scene is not extracted yet, or a split has no windows.
        SplitLeakError: kept windows of different splits are too near to each other, or the same picture.
        LockHeldError: another process finalises the same patch set.
    """
    with exclusive(plan.workspace.lock(f"patch-set-{plan.id}"), f"Patch set {plan.id}"):
        remove_stale_temps(plan.folder)
        if plan.complete and not force:  # another process was faster
            tidy(plan)
            return described(plan), False
        parts = _parts(plan)
        manifest = _manifest(plan)
        _check_splits(plan, manifest)
        check_leaks(plan, manifest)
        counts = _write_shards(plan, parts, manifest)
        check_twins(plan.folder, manifest)
        with replacing_file(plan.folder / MANIFEST_FILE) as temp:
            _ordered(manifest, plan).to_parquet(temp, index=False)
        statistics = statistics_of(plan, parts)
        write_json(plan.folder / STATISTICS_FILE, statistics.model_dump(mode="json"))
        description = describe(plan, parts, manifest, counts)
        write_json(plan.folder / PATCHSET_FILE, description.model_dump(mode="json"))
        remember_latest(plan)
        tidy(plan)
    return description, True


def remember_latest(plan: PatchPlan) -> None:
    """Make this the patch set that is meant when none is named."""
    write_json(plan.workspace.patches(plan.project.name) / LATEST_FILE, {"patch_set": plan.id})


def tidy(plan: PatchPlan) -> None:
    """Remove the parts that a process killed between marker and clean-up has left."""
    shutil.rmtree(plan.folder / "parts", ignore_errors=True)


def described(plan: PatchPlan) -> PatchSetDescription:
    """Return what a complete patch set is."""
    return open_patch_set(plan.workspace, plan.project.name, plan.id).description


def _parts(plan: PatchPlan) -> dict[str, Part]:
    missing = [record.id for record in plan.records if not plan.part(record.id).exists()]
    if missing:
        raise BadDataError(
            f"{len(missing)} of {len(plan.records)} scenes of patch set {plan.id} are not extracted: "
            f"{', '.join(missing)}. Run satseg patch --step extract for them, then finalise again."
        )
    return {record.id: read_part(plan.part(record.id)) for record in plan.records}


def _manifest(plan: PatchPlan) -> "pd.DataFrame":
    import pandas as pd

    tables = []
    for record in plan.records:
        table = pd.read_parquet(plan.part(record.id) / TABLE_FILE)
        table.insert(0, "scene", record.id)
        tables.append(table)
    old = [record.id for record, table in zip(plan.records, tables, strict=True) if DIGEST not in table]
    if old:
        raise BadDataError(
            f"{', '.join(old)} of patch set {plan.id} were extracted by an earlier satseg. Run satseg patch --force."
        )
    manifest = pd.concat(tables, ignore_index=True)
    blocks = plan.planned_blocks()
    cohorts = {name: block.cohort for name, block in blocks.items()}
    references = {name: plan.split.is_reference(block) for name, block in blocks.items()}
    manifest["size"] = plan.project.patches.size_px
    manifest["cohort"] = manifest["block"].map(cohorts)
    manifest["reference"] = manifest["block"].map(references).astype(bool)
    return manifest.assign(shard=-1, index=-1)


def _ordered(manifest: "pd.DataFrame", plan: PatchPlan) -> "pd.DataFrame":
    fractions = tuple(f"fraction_{name}" for name in plan.project.classes)
    ordered = manifest.sort_values(["scene", "row", "col", "split"], kind="stable")
    return ordered[[*COLUMNS, *CONTENT_COLUMNS, *fractions, *LAST_COLUMNS]].reset_index(drop=True)


def _check_splits(plan: PatchPlan, manifest: "pd.DataFrame") -> None:
    config = plan.project.patches
    fractions = {"train": 1.0, "val": config.val_fraction, "test": config.test_fraction}
    for split, fraction in fractions.items():
        rows = manifest[manifest["split"] == split]
        if fraction == 0 or rows["kept"].any():
            continue
        if split == "train" and not (rows["reason"] != "buffer").any():
            raise no_train_windows(plan.project)
        reasons = ", ".join(f"{reason} {count}" for reason, count in rows["reason"].value_counts().items())
        raise BadDataError(
            f"No {split} window is kept of {len(rows)} (dropped for: {reasons or 'none laid out'}). Add labelled "
            f"scenes, raise patches.max_nodata_fraction (now {config.max_nodata_fraction:g}) or "
            f"patches.negatives_per_positive ({config.negatives_per_positive:g}), or lower patches.buffer_m "
            f"({config.buffer_m:g})."
        )


def _write_shards(plan: PatchPlan, parts: dict[str, Part], manifest: "pd.DataFrame") -> list[int]:
    """Write all shards, split after split, note in the manifest where each window went, and return their lengths."""
    record = _record(plan)
    folders = {record.id: plan.part(record.id) for record in plan.records}
    arranged = [
        (split, shard)
        for split in SPLITS
        for shard in arrange(
            {scene: part.windows[split] for scene, part in parts.items()},
            record.capacity(plan.project.patches.shard_mib),
        )
    ]
    kept = manifest[manifest["kept"]]
    rows = {key: group.sort_values("position").index for key, group in kept.groupby(["scene", "split"])}
    with progress_bar(f"shards of {plan.id}", len(arranged)) as advance:
        for number, (split, shard) in enumerate(arranged):
            write_shard(plan.folder, number, Sources(shard, folders, split, record))
            index = 0
            for segment in shard:
                places = rows[segment.scene, split][segment.position : segment.position + segment.count]
                manifest.loc[places, "shard"] = number
                manifest.loc[places, "index"] = np.arange(index, index + segment.count)
                index += segment.count
            advance()
    return [sum(segment.count for segment in shard) for _, shard in arranged]


def _record(plan: PatchPlan) -> Record:
    first = plan.records[0]
    return Record(plan.project.patches.size_px, len(first.bands), first.dtype)
