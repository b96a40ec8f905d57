"""Putting the scenes' parts together: shards, manifest, statistics, and the marker that makes a patch set complete."""

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from satseg.errors import BadDataError
from satseg.patches.extract import TABLE_FILE, Part, read_part
from satseg.patches.leaks import check_leaks
from satseg.patches.moments import Moments
from satseg.patches.patchset import (
    LATEST_FILE,
    MANIFEST_FILE,
    PATCHSET_FILE,
    SPLITS,
    STATISTICS_FILE,
    PatchSetDescription,
    Statistics,
    open_patch_set,
)
from satseg.patches.plan import PatchPlan, no_train_windows
from satseg.patches.shards import Record, Sources, arrange, write_shard
from satseg.progress import progress_bar
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_file, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("scene", "row", "col", "size", "split", "block", "cohort", "reference", "positive", "nodata_fraction")
LAST_COLUMNS = ("kept", "reason", "draw_weight", "shard", "index")
SAME_GSD = 0.02  # relative difference up to which scenes count as of one ground sample distance


def finalise(plan: PatchPlan, force: bool = False) -> tuple[PatchSetDescription, bool]:
    """Merge the parts of all scenes into the patch set; returns it and whether it was made here and now.

    Raises:
        BadDataError: a scene is not extracted yet, or a split has no windows.
        SplitLeakError: kept windows of different splits are too near to each other.
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
        with replacing_file(plan.folder / MANIFEST_FILE) as temp:
            _ordered(manifest, plan).to_parquet(temp, index=False)
        statistics = _statistics(plan, parts)
        write_json(plan.folder / STATISTICS_FILE, statistics.model_dump(mode="json"))
        description = _description(plan, manifest, counts)
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
    return ordered[[*COLUMNS, *fractions, *LAST_COLUMNS]].reset_index(drop=True)


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


def _statistics(plan: PatchPlan, parts: dict[str, Part]) -> Statistics:
    """Merge the train statistics of the scenes.

    The weight of class c is n / (K n_c) over the n pixels and K classes there are (King & Zeng 2001, "balanced");
    a class without pixels has weight 0. A band without variation has std 1, so that dividing by it is harmless.
    """
    moments = Moments.none(len(plan.records[0].bands))
    for part in parts.values():
        moments += Moments(part.pixels, np.array(part.mean), np.array(part.squares))
    pixels: NDArray[np.int64] = np.sum([part.class_pixels for part in parts.values()], axis=0)
    fractions = pixels / max(int(pixels.sum()), 1)
    present = fractions > 0
    weights = np.divide(1.0, fractions * present.sum(), out=np.zeros(len(fractions)), where=present)
    std = moments.std()
    return Statistics(
        bands=plan.records[0].bands,
        classes=("background", *plan.project.classes),
        mean=tuple(moments.mean.tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
        class_fractions=tuple(fractions.tolist()),
        class_weights=tuple(weights.tolist()),
        pixels=moments.count,
    )


def _description(plan: PatchPlan, manifest: "pd.DataFrame", counts: list[int]) -> PatchSetDescription:
    first, project = plan.records[0], plan.project
    kept = manifest[manifest["kept"]]
    labelled = kept[[f"fraction_{name}" for name in project.classes]].sum(axis=1)
    return PatchSetDescription(
        id=plan.id,
        project=project.name,
        dataset_version=plan.version.name,
        created=datetime.now(UTC),
        size_px=project.patches.size_px,
        channels=len(first.bands),
        dtype=first.dtype,
        classes=project.classes,
        bands=first.bands,
        gsd_m=_common_gsd(plan),
        parameters=project.patches.model_dump(mode="json"),
        split_plan=plan.split.key,
        scenes={
            record.id: {"checksum": record.checksum, "annotation_checksum": record.annotation_checksum or ""}
            for record in plan.records
        },
        windows={split: int((kept["split"] == split).sum()) for split in SPLITS},
        positive_fractions={
            split: float(labelled[kept["split"] == split].mean()) if (kept["split"] == split).any() else 0.0
            for split in SPLITS
        },
        shards=counts,
        warnings=_warnings(plan, kept),
    )


def _common_gsd(plan: PatchPlan) -> float | None:
    values = [record.gsd_m for record in plan.records if record.gsd_m is not None]
    if len(values) < len(plan.records) or max(values) > min(values) * (1 + SAME_GSD):
        return plan.project.gsd_m
    return plan.project.gsd_m or float(np.median(values))


def _warnings(plan: PatchPlan, kept: "pd.DataFrame") -> list[str]:
    warnings = []
    for split in SPLITS:
        rows = kept[kept["split"] == split]
        absent = [name for name in plan.project.classes if not (rows[f"fraction_{name}"] > 0).any()]
        if absent and len(rows):
            warnings.append(
                f"No {split} window holds class {', '.join(absent)}: add labelled scenes with it, or lower "
                f"patches.block_px (now {plan.project.patches.block_px}) in a new project."
            )
    return warnings
