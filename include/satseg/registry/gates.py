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


def not_worse(challenger: EvaluateResult, champion: EvaluateResult, champion_version: str, max_loss: float) -> Gate:
    """The challenger loses at most `max_loss` IoU against the champion on the same blocks of the same patch set.

    These are the reference test blocks, fixed with the project's first patch set; all test blocks when the patch set
    has none of them.
    """
    if challenger.reference is not None and champion.reference is not None:
        ours, theirs, where = challenger.reference.iou, champion.reference.iou, "the reference test blocks"
    else:
        ours, theirs, where = challenger.iou, champion.iou, "all test blocks (there are no reference blocks)"
    gain = ours - theirs
    return Gate(
        name="not_worse_than_champion",
        passed=gain >= -max_loss - ROUNDING,
        value=gain,
        bound=-max_loss,
        evidence=f"IoU {ours:.3f} against {theirs:.3f} of champion v{champion_version} on {where} of patch set "
        f"{challenger.patch_set} = {gain:+.3f}, must be at least {-max_loss:+.3f} (promotion.max_iou_loss)",
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


def cannot_be_measured(reason: str) -> Gate:
    """There are no scores: a model nobody can measure does not pass."""
    return Gate(name="measured", passed=False, value=None, bound=None, evidence=reason)


def score_gates(result: EvaluateResult, rules: PromotionConfig) -> list[Gate]:
    """Return the gates that need no champion."""
    return [
        labelled(result),
        floor(result, rules.min_iou),
        above_all_positive(result, rules.margin_over_all_positive),
    ]


def failures(gates: list[Gate]) -> str:
    """Return the evidence of the gates that did not pass, in one line."""
    return "; ".join(f"{gate.name}: {gate.evidence}" for gate in gates if not gate.passed)
