"""What is told of a patch set once its windows are settled: statistics of train, description, warnings."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from satseg.patches.extract import Part
from satseg.patches.moments import Moments
from satseg.patches.patchset import SPLITS, PatchSetDescription, Statistics
from satseg.patches.plan import PatchPlan

if TYPE_CHECKING:
    import pandas as pd

SAME_GSD = 0.02  # relative difference up to which scenes count as of one ground sample distance


def statistics_of(plan: PatchPlan, parts: dict[str, Part]) -> Statistics:
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


def describe(
    plan: PatchPlan, parts: dict[str, Part], manifest: "pd.DataFrame", counts: list[int]
) -> PatchSetDescription:
    """Return the content of patchset.json; `counts` are the records of each shard."""
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
        warnings=[*_warnings(plan, kept), *_unused_hard_negatives(plan, parts)],
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


def _unused_hard_negatives(plan: PatchPlan, parts: dict[str, Part]) -> list[str]:
    unused = len(plan.hard) - sum(part.hard_negatives for part in parts.values())
    if not unused:
        return []
    return [
        f"{unused} of the {len(plan.hard)} windows in patches.hard_negatives are not used: they lie on no training "
        "negative of a labelled scene (but on held-out ground, in its buffer, on labels or elsewhere)."
    ]
