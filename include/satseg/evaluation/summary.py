"""From counts to the numbers of a result, and their names in MLflow."""

from collections.abc import Callable

import numpy as np

from satseg.config.evaluation import EvaluationConfig
from satseg.evaluation.calibration import best_threshold, threshold_sweep
from satseg.evaluation.part_scores import DETAILS, PIXEL_SCORES, Part
from satseg.evaluation.scores import mean_scores
from satseg.evaluation.tally import BlockKey, Tally
from satseg.stages import Details, EvaluateResult, Scores

SCORE_NAMES = (*PIXEL_SCORES, "iou_all_positive")
OF_SCENES = ("iou", "object_f1")


def summarise(tally: Tally, config: EvaluationConfig, model: str, run_id: str, patch_set: str) -> EvaluateResult:
    """Turn block counts into scores: in total, per class, per scene, on the reference blocks and on new ones."""
    every = tally.where(lambda key: True)
    total, whole = mean_scores(tally.confusion.sum(axis=0)), Part(tally, config, every).scores()
    numbers = range(len(tally.classes))
    # of one class the mean is the class
    of_class = [Part(tally, config, every, n).scores() if len(numbers) > 1 else whole for n in numbers]
    best = best_threshold(threshold_sweep(tally.sweep))
    return EvaluateResult(
        message=_message(f"{model} on patch set {patch_set}", total, whole),
        run_id=run_id,
        patch_set=patch_set,
        **{name: getattr(total, name) for name in SCORE_NAMES},
        **{name: getattr(whole, name) for name in Details.model_fields},
        per_class=dict(zip(tally.classes, of_class, strict=True)),
        per_scene=_per_scene(tally, config),
        reference=_of(tally, config, lambda key: key.reference),
        new=_of(tally, config, lambda key: not key.reference),
        windows=tally.windows,
        blocks=len(tally.keys),
        best_threshold=best.threshold if best else None,
        best_threshold_iou=best.iou if best else None,
    )


def _message(what: str, total: Scores, whole: Scores) -> str:
    interval = whole.intervals.get("iou")
    between = f" ({interval.low:.3f} to {interval.high:.3f})" if interval and interval.low is not None else ""
    return (
        f"{what}: test IoU {total.iou:.3f}{between}, Dice {total.dice:.3f} "
        f"(the map that is positive everywhere: IoU {total.iou_all_positive:.3f})."
    )


def _per_scene(tally: Tally, config: EvaluationConfig) -> dict[str, Scores]:
    scenes: dict[str, list[int]] = {}
    for number, key in enumerate(tally.keys):
        scenes.setdefault(key.scene, []).append(number)
    return {scene: Part(tally, config, np.array(blocks)).scores(OF_SCENES) for scene, blocks in sorted(scenes.items())}


def _of(tally: Tally, config: EvaluationConfig, keep: Callable[[BlockKey], bool]) -> Scores | None:
    blocks = tally.where(keep)
    return Part(tally, config, blocks).scores(("iou",)) if len(blocks) else None


def metrics(result: EvaluateResult, prefix: str) -> dict[str, float]:
    """Return the scores under the names they have in MLflow, for example `test/iou` and `test/reference/iou`.

    The ends of the intervals of the whole are `test/iou_low` and `test/iou_high`.
    """
    parts: dict[str, EvaluateResult | Scores | None] = {
        prefix: result,
        f"{prefix}/reference": result.reference,
        f"{prefix}/new": result.new,
    }
    if len(result.per_class) > 1:
        parts |= {f"{prefix}/{name}": scores for name, scores in result.per_class.items()}
    found = {
        f"{where}/{name}": getattr(scores, name)
        for where, scores in parts.items()
        if scores is not None
        for name in (*SCORE_NAMES, *DETAILS)
    }
    for name, interval in result.intervals.items():
        found |= {f"{prefix}/{name}_low": interval.low, f"{prefix}/{name}_high": interval.high}
    found |= {f"{prefix}/recall_{size}": value for size, value in result.recall_by_size.items()}
    found[f"{prefix}/best_threshold"] = result.best_threshold
    return {name: float(value) for name, value in found.items() if value is not None}
