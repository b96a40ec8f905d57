"""From counted pixels to the numbers of a result, and their names in MLflow."""

from satseg.evaluation.measure import Measurement
from satseg.evaluation.scores import class_scores, mean_scores
from satseg.stages import EvaluateResult, Scores

SCORE_NAMES = ("iou", "dice", "precision", "recall", "iou_all_positive")


def summarise(measurement: Measurement, model: str, run_id: str, patch_set: str) -> EvaluateResult:
    """Turn block counts into scores: in total, per class, per scene, on the reference blocks and on new ones."""
    total = measurement.total()
    scores = mean_scores(total)
    scenes = sorted({key.scene for key in measurement.blocks})
    words = f"{model} on patch set {patch_set}: test IoU {scores.iou:.3f}, Dice {scores.dice:.3f}"
    return EvaluateResult(
        message=f"{words} (the map that is positive everywhere: IoU {scores.iou_all_positive:.3f}).",
        run_id=run_id,
        patch_set=patch_set,
        **{name: getattr(scores, name) for name in SCORE_NAMES},
        per_class={name: class_scores(total, number) for number, name in enumerate(measurement.classes, start=1)},
        per_scene={scene: _scene(measurement, scene) for scene in scenes},
        reference=_part(measurement, reference=True),
        new=_part(measurement, reference=False),
        blocks=len(measurement.blocks),
    )


def _scene(measurement: Measurement, scene: str) -> Scores:
    return mean_scores(measurement.total(lambda key: key.scene == scene))


def _part(measurement: Measurement, reference: bool) -> Scores | None:
    if not any(key.reference is reference for key in measurement.blocks):
        return None
    return mean_scores(measurement.total(lambda key: key.reference is reference))


def metrics(result: EvaluateResult, prefix: str) -> dict[str, float]:
    """Return the scores under the names they have in MLflow, for example `test/iou` and `test/reference/iou`."""
    parts: dict[str, EvaluateResult | Scores | None] = {
        prefix: result,
        f"{prefix}/reference": result.reference,
        f"{prefix}/new": result.new,
    }
    if len(result.per_class) > 1:
        parts |= {f"{prefix}/{name}": scores for name, scores in result.per_class.items()}
    return {
        f"{where}/{name}": float(getattr(scores, name))
        for where, scores in parts.items()
        if scores is not None
        for name in SCORE_NAMES
    }
