"""Concept drift: whether the champion still finds what it found when it was promoted.

Two answers. When labels have come later, the IoU of the champion's maps on them, beside its IoU on the test blocks
(measured). Without labels, the IoU that the maps' own probabilities promise, corrected by what such promises were worth
on held-out ground under simulated changes (estimated; `estimate.py`). No verdict rests on the estimate;
`benchmarks/drift_estimate.py` says how far it is off.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord
from satseg.drift.estimate import BINS, Estimator, View, joined, mean_iou, promised_counts, rising, viewed
from satseg.drift.reference import Champion, champion_of, records_of
from satseg.drift.trials import picture_of, trials_of
from satseg.errors import ConfigurationError, NotFoundError
from satseg.evaluation.intervals import ENOUGH_BLOCKS, block_bootstrap
from satseg.evaluation.report import EvaluationReport, read_report
from satseg.inference.encoding import decode
from satseg.inference.item import CLASSES_FILE, PROBABILITY_FILE, read_record
from satseg.progress import progress_bar
from satseg.scenes.raster import SceneReader, open_scene
from satseg.stages import ConceptResult, ConceptSpec, Interval
from satseg.storage.layout import Workspace

_ACROSS = 16  # patches along each side of a scene, from which its picture is described


@dataclass(frozen=True)
class Ground:
    """A scene: counts of its labelled blocks, (B, classes, 4) TP, FP, FN, TN, and what is seen without labels."""

    measured: NDArray[np.float64]
    seen: View | None


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
    parts, labelled = [], []
    with progress_bar("champion's maps against labels, scenes", len(chosen)) as advance:
        for record in chosen:
            folder = workspace.prediction(project.name, record.id, champion.label)
            ground = scene_ground(record, folder, project)
            parts.append(ground)
            if ground.measured.size:
                labelled.append(record.id)
            advance()
    measured = block_bootstrap(np.concatenate([part.measured for part in parts]), mean_iou)
    estimated = estimated_iou(workspace, project, champion, baseline, [part.seen for part in parts if part.seen])
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


def estimated_iou(
    workspace: Workspace, project: ProjectConfig, champion: Champion, baseline: EvaluationReport, views: list[View]
) -> Interval:
    """Return the IoU of maps without labels; without an interval where there is too little held-out ground to learn."""
    curves = np.stack([_curve(baseline.reliability[name]) for name in project.classes])
    trials = trials_of(workspace, project, champion) if project.drift.estimate else []
    if trials:
        return Estimator(trials, seed=project.drift.seed, curves=curves).estimate(views)
    counts = np.sum([promised_counts(view, curves) for view in views], axis=0) if views else np.zeros((1, 4))
    value = float(mean_iou(counts[None])[0])
    warning = "not corrected for drift: too little held-out ground, or drift.estimate is false"
    known = value if np.isfinite(value) else None
    return Interval(value=known, low=None, high=None, blocks=len(views), warning=warning)


def _curve(reliability: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    """Return the calibration curve of an evaluation's bins (pixels, sum of probabilities, labelled) on `BINS` bins."""
    pixels, _, labelled = (np.array(column, float) for column in zip(*reliability, strict=True))
    middles = (np.arange(BINS) + 0.5) / BINS
    return rising(pixels, labelled)[(middles * len(pixels)).astype(np.intp)]


def scene_ground(record: SceneRecord, folder: Path, project: ProjectConfig) -> Ground:
    """Look at a scene block by block.

    Args:
        record: The scene; with labels it is measured too.
        folder: The champion's prediction of it.
        project: Its classes and size of blocks.
    """
    maker = PolygonIndex.read(record.annotations) if record.labelled and record.annotations else None
    block, classes_count = project.drift.patch_px * project.drift.block_patches, len(project.classes)
    measured, seen = [], []
    with (
        open_scene(folder / PROBABILITY_FILE) as probability,
        open_scene(folder / CLASSES_FILE) as classes,
        open_scene(record.path) as scene,
    ):
        picture = _picture(scene, project)
        for row in range(0, probability.height, block):
            for col in range(0, probability.width, block):
                found = _block(probability, classes, (row, col, block))
                if found is None:
                    continue
                chances, mapped, valid = found
                if picture is not None:
                    seen.append(viewed(chances, mapped[valid], None, picture))
                if maker is not None:
                    labels = maker.rasterize(window_transform(probability.transform, row, col), *mapped.shape)
                    measured.append(_true_counts(labels[valid], mapped[valid], classes_count))
    counts = np.stack(measured) if measured else np.zeros((0, classes_count, 4))
    return Ground(counts, joined(seen) if seen else None)


def _picture(scene: SceneReader, project: ProjectConfig) -> NDArray[np.float64] | None:
    """Return the mean picture statistics of patches spread over a scene; None where none has enough data."""
    px = min(project.drift.patch_px, scene.height, scene.width)
    starts = [np.linspace(0, extent - px, min(_ACROSS, max(1, extent // px))) for extent in (scene.height, scene.width)]
    found = []
    for row, col in product(*(places.astype(int).tolist() for places in starts)):
        pixels, valid = scene.read(row, col, px, px), scene.valid_mask(row, col, px, px)
        valid &= np.isfinite(pixels).all(axis=-1)
        if valid.mean() >= 1 - project.patches.max_nodata_fraction and valid.any():
            found.append(picture_of(pixels, valid, project.bands))
    return (
        np.mean(found, axis=0)
        if found
        else picture_of(np.zeros((px, px, scene.count)), np.ones((px, px), bool), project.bands)
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
    probability: SceneReader, classes: SceneReader, window: tuple[int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Return probabilities (N, classes) of the pixels with data, class ids (H, W), and which have data."""
    row, col, side = window
    mapped = classes.read(row, col, side, side, pad="none")[..., 0]
    valid = probability.valid_mask(row, col, *mapped.shape)
    if not valid.any():
        return None
    return decode(probability.read(row, col, side, side, pad="none"))[valid], mapped, valid


def _true_counts(labels: NDArray[np.uint8], mapped: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    counts = []
    for number in range(1, classes + 1):
        truth, found = labels == number, mapped == number
        counts.append([(truth & found).sum(), (~truth & found).sum(), (truth & ~found).sum(), (~truth & ~found).sum()])
    return np.asarray(counts, np.float64)


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
