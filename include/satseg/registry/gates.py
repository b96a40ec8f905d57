"""The rules of a promotion, each a small function of numbers with its value, bound and evidence."""

from satseg.config.operation import PromotionConfig
from satseg.stages import EvaluateResult, Gate

ROUNDING = 1e-9


def floor(result: EvaluateResult, min_iou: float) -> Gate:
    """The test IoU reaches the absolute floor."""
    return Gate(
        name="floor",
        passed=result.iou >= min_iou - ROUNDING,
        value=result.iou,
        bound=min_iou,
        evidence=f"test IoU {result.iou:.3f} must be at least {min_iou:.3f} (promotion.min_iou)",
    )


def above_all_positive(result: EvaluateResult, margin: float) -> Gate:
    """The model beats the map that is positive everywhere by more than the margin."""
    gain = result.iou - result.iou_all_positive
    return Gate(
        name="above_all_positive",
        passed=gain > margin,
        value=gain,
        bound=margin,
        evidence=f"test IoU {result.iou:.3f} minus {result.iou_all_positive:.3f} of the map that is positive "
        f"everywhere = {gain:+.3f}, must be above {margin:+.3f} (promotion.margin_over_all_positive)",
    )


def labelled(result: EvaluateResult) -> Gate:
    """The test blocks hold labelled pixels; without any, every score is an empty statement."""
    pixels = sum(scores.labelled_pixels for scores in result.per_class.values())
    return Gate(
        name="labelled_test_pixels",
        passed=pixels > 0,
        value=float(pixels),
        bound=1.0,
        evidence=f"{pixels} labelled pixels in {result.blocks} test blocks of patch set {result.patch_set}",
    )


def champion_does_not_fit(champion_version: str, misfit: str) -> Gate:
    """The champion cannot read the project's patches any more: there is nothing to be worse than."""
    return Gate(
        name="not_worse_than_champion",
        passed=True,
        value=None,
        bound=None,
        evidence=f"champion v{champion_version} cannot be measured on the same blocks: {misfit}",
    )


def calibrated(error: float | None, bound: float | None) -> Gate:
    """The probabilities mean what they say: their expected calibration error (ECE) is within the bound."""
    value = "is not known" if error is None else f"is {error:.3f}"
    said = f"must be at most {bound:.3f}" if bound is not None else "no bound is set"
    return Gate(
        name="calibration",
        passed=bound is None or (error is not None and error <= bound + ROUNDING),
        value=error,
        bound=bound,
        evidence=f"expected calibration error {value}; {said} (promotion.max_calibration_error)",
    )


def cannot_be_measured(reason: str) -> Gate:
    """There are no scores: a model nobody can measure does not pass."""
    return Gate(name="measured", passed=False, value=None, bound=None, evidence=reason)


def score_gates(result: EvaluateResult, rules: PromotionConfig) -> list[Gate]:
    """Return the gates that need no champion."""
    return [
        labelled(result),
        floor(result, rules.min_iou),
        above_all_positive(result, rules.margin_over_all_positive),
        calibrated(result.ece, rules.max_calibration_error),
    ]


def failures(gates: list[Gate]) -> str:
    """Return the evidence of the gates that did not pass, in one line."""
    return "; ".join(f"{gate.name}: {gate.evidence}" for gate in gates if not gate.passed)


def undecided(gates: list[Gate]) -> list[str]:
    """Return the names of the gates without enough evidence."""
    return [gate.name for gate in gates if gate.undecided]
