"""Concept drift: whether the champion still finds what it found when it was promoted.

Two answers. When labels have come later, the IoU of the champion's maps on them, beside its IoU on the test blocks
(measured). Without labels, the IoU that the maps' own probabilities promise, after these have been calibrated on the
test blocks (estimated): confidence-based performance estimation, here for pixels. The estimate holds as long as the
probabilities stay calibrated, and drift breaks that: it is a hint, too optimistic as a rule, and no verdict rests on it
(`benchmarks/drift_estimate.py` says how far it is off).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord
from satseg.drift.reference import Champion, champion_of, records_of
from satseg.errors import ConfigurationError, NotFoundError
from satseg.evaluation.intervals import ENOUGH_BLOCKS, block_bootstrap, class_mean, iou
from satseg.evaluation.report import EvaluationReport, read_report
from satseg.inference.item import CLASSES_FILE, PROBABILITY_FILE, read_record
from satseg.inference.maps import decode
from satseg.progress import progress_bar
from satseg.scenes.raster import SceneReader, open_scene
from satseg.stages import ConceptResult, ConceptSpec, Interval
from satseg.storage.layout import Workspace

mean_iou = class_mean(iou)


@dataclass(frozen=True)
class Ground:
    """Counts of blocks: (B, classes, 4) TP, FP, FN, TN; measured where there are labels, and estimated everywhere."""

    measured: NDArray[np.float64]
    estimated: NDArray[np.float64]


def run(spec: ConceptSpec, workspace: Workspace) -> ConceptResult:
    """Return the champion's IoU on scenes: measured on those with labels, estimated on all.

    Raises:
        NotFoundError: no champion, an unknown scene, or the champion has not been evaluated.
        ConfigurationError: the champion has predicted none of the scenes.
    """
    project = spec.project
    champion = champion_of(workspace, project.name)
    if champion is None:
        raise NotFoundError(f"{project.name} has no champion yet; promote a model first.")
    baseline = _baseline(workspace, project, champion)
    chosen = _chosen(workspace, project, champion, spec.scenes)
    curves = [calibration_curve(baseline.reliability[name]) for name in project.classes]
    parts, labelled = [], []
    with progress_bar("champion's maps against labels, scenes", len(chosen)) as advance:
        for record in chosen:
            folder = workspace.prediction(project.name, record.id, champion.label)
            ground = scene_counts(record, folder, project, curves)
            parts.append(ground)
            if ground.measured.size:
                labelled.append(record.id)
            advance()
    measured = _interval(np.concatenate([part.measured for part in parts]))
    estimated = _interval(np.concatenate([part.estimated for part in parts]))
    before = _overall(baseline)
    lost = drop(before, measured)
    drifted = lost is not None and lost.low is not None and lost.low > 0
    return ConceptResult(
        message=_message(champion, before, measured, estimated, drifted, len(labelled)),
        champion=champion.label,
        scenes=[record.id for record in chosen],
        labelled=labelled,
        baseline=before,
        measured=measured,
        estimated=estimated,
        lost=lost,
        drifted=drifted,
    )


def calibration_curve(bins: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    """Return the share of labelled pixels by bin of the probability, never falling: (bins,).

    Args:
        bins: For each bin of equal width: pixels, sum of probabilities, pixels labelled so.

    Source: isotonic regression by pooling adjacent violators (Zadrozny & Elkan, KDD 2002), on bins.
    """
    pools: list[list[float]] = []  # pixels, labelled, bins
    for place, (pixels, _, of_class) in enumerate(bins):
        # a bin without pixels keeps its own middle, with the weight of a hundredth of a pixel
        weight = max(float(pixels), 0.01)
        share = of_class / pixels if pixels else (place + 0.5) / len(bins)
        pools.append([weight, weight * share, 1])
        while len(pools) > 1 and pools[-2][1] / pools[-2][0] >= pools[-1][1] / pools[-1][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    return np.concatenate([np.full(int(count), of_class / pixels) for pixels, of_class, count in pools])


def expected_counts(chances: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return expected TP, FP, FN, TN of pixels with calibrated probabilities (N,) of which some are mapped (N,)."""
    on, off = chances[positive], chances[~positive]
    return np.array([on.sum(), (1 - on).sum(), off.sum(), (1 - off).sum()])


def scene_counts(
    record: SceneRecord, folder: Path, project: ProjectConfig, curves: list[NDArray[np.float64]]
) -> Ground:
    """Count a scene's blocks.

    Args:
        record: The scene; with labels it is measured too.
        folder: The champion's prediction of it.
        project: Its classes and size of blocks.
        curves: Of each class, `calibration_curve`.
    """
    maker = PolygonIndex.read(record.annotations) if record.labelled and record.annotations else None
    block = project.drift.patch_px * project.drift.block_patches
    measured, estimated = [], []
    with open_scene(folder / PROBABILITY_FILE) as probability, open_scene(folder / CLASSES_FILE) as classes:
        for row in range(0, probability.height, block):
            for col in range(0, probability.width, block):
                found = _block(probability, classes, (row, col, block), curves)
                if found is None:
                    continue
                counts, mapped, valid = found
                estimated.append(counts)
                if maker is not None:
                    labels = maker.rasterize(window_transform(probability.transform, row, col), *mapped.shape)
                    measured.append(_true_counts(labels[valid], mapped[valid], len(curves)))
    size = (0, len(curves), 4)
    return Ground(
        np.stack(measured) if measured else np.zeros(size), np.stack(estimated) if estimated else np.zeros(size)
    )


def drop(before: Interval, now: Interval) -> Interval | None:
    """Return how much lower IoU is now, with its interval; None when either is undefined.

    Source: MOVER, the method of variance estimates recovery (Zou & Donner, Statistics in Medicine 27 (2008)).
    """
    values = (before.value, before.low, before.high, now.value, now.low, now.high)
    if any(value is None for value in values):
        return None
    was, was_low, was_high, is_now, now_low, now_high = (float(value or 0.0) for value in values)
    lost = was - is_now
    low = lost - float(np.hypot(was - was_low, now_high - is_now))
    high = lost + float(np.hypot(was_high - was, is_now - now_low))
    return Interval(value=lost, low=low, high=high, level=now.level, blocks=min(before.blocks, now.blocks))


def _block(
    probability: SceneReader, classes: SceneReader, window: tuple[int, int, int], curves: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.bool_]] | None:
    row, col, side = window
    mapped = classes.read(row, col, side, side, pad="none")[..., 0]
    height, width = mapped.shape
    valid = probability.valid_mask(row, col, height, width)
    if not valid.any():
        return None
    chances = decode(probability.read(row, col, side, side, pad="none"))[valid]
    counts = []
    for number, curve in enumerate(curves):
        bins = np.minimum((chances[:, number] * curve.size).astype(np.intp), curve.size - 1)
        counts.append(expected_counts(curve[bins], mapped[valid] == number + 1))
    return np.stack(counts), mapped, valid


def _true_counts(labels: NDArray[np.uint8], mapped: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    counts = []
    for number in range(1, classes + 1):
        truth, found = labels == number, mapped == number
        counts.append([(truth & found).sum(), (~truth & found).sum(), (truth & ~found).sum(), (~truth & ~found).sum()])
    return np.asarray(counts, np.float64)


def _interval(counts: NDArray[np.float64]) -> Interval:
    return block_bootstrap(counts, mean_iou)


def _baseline(workspace: Workspace, project: ProjectConfig, champion: Champion) -> EvaluationReport:
    report = None
    if champion.run_id and champion.patch_set:
        report = read_report(workspace, project.name, champion.run_id, champion.patch_set)
    if report is None:
        raise NotFoundError(
            f"Champion {champion.label} has no evaluation here to compare with. Run `satseg evaluate "
            f"{champion.label.removeprefix('v')} --project {project.name}` first."
        )
    return report


def _overall(report: EvaluationReport) -> Interval:
    return report.result.intervals.get("iou") or Interval(
        value=report.result.iou, low=None, high=None, blocks=report.result.blocks
    )


def _chosen(
    workspace: Workspace, project: ProjectConfig, champion: Champion, wanted: list[str] | None
) -> list[SceneRecord]:
    """Return the scenes asked for, or all that the champion has predicted and was not trained on."""
    trained = set(records_of(workspace, project.name, champion.dataset_version))
    records = {record.id: record for record in records_of(workspace, project.name, None).values()}
    if unknown := [scene for scene in wanted or [] if scene not in records]:
        raise NotFoundError(f"Scene {', '.join(unknown)} is not in the newest dataset version of {project.name}.")
    if seen := [scene for scene in wanted or [] if records[scene].checksum in trained]:
        raise ConfigurationError(
            f"Champion {champion.label} was trained on {', '.join(seen)}; its IoU there says nothing about new scenes. "
            "Name scenes that came later."
        )
    candidates = [records[scene] for scene in wanted] if wanted else list(records.values())
    chosen = []
    for record in candidates:
        made = read_record(workspace.prediction(project.name, record.id, champion.label))
        if made is not None and made.scene_checksum == record.checksum and record.checksum not in trained:
            chosen.append(record)
    if not chosen:
        raise ConfigurationError(
            f"Champion {champion.label} has predicted none of the {'named' if wanted else 'new'} scenes. Run `satseg "
            f"predict SCENE --project {project.name}` first."
        )
    return chosen


def _message(  # noqa: PLR0917 - one sentence about all of them
    champion: Champion, before: Interval, measured: Interval, estimated: Interval, drifted: bool, labelled: int
) -> str:
    estimate = f"estimated without labels {_told(estimated)}"
    if measured.value is None:
        return f"{champion.label}: IoU {estimate}, on its test blocks {_told(before)}. No labels have come yet."
    verdict = "CONCEPT DRIFT" if drifted else "no concept drift"
    few = f" (only {measured.blocks} blocks hold evidence)" if measured.blocks < ENOUGH_BLOCKS else ""
    return (
        f"{champion.label}: {verdict}. IoU {_told(measured)} on {labelled} newly labelled scenes{few}, {_told(before)} "
        f"on its test blocks; {estimate}."
    )


def _told(interval: Interval) -> str:
    if interval.value is None:
        return "undefined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
