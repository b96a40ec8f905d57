"""The rules of a promotion."""

import pytest

from satseg.config.operation import PromotionConfig
from satseg.registry.gates import (
    above_all_positive,
    calibrated,
    champion_does_not_fit,
    failures,
    floor,
    labelled,
    score_gates,
)
from satseg.registry.judge import Judgement
from satseg.stages import EvaluateResult, Gate, Scores


def scores(iou, all_positive=0.2, labelled_pixels=50):
    return Scores(
        iou=iou,
        dice=0,
        precision=0,
        recall=0,
        iou_all_positive=all_positive,
        pixels=100,
        labelled_pixels=labelled_pixels,
    )


def result(iou, *, reference=None, all_positive=0.2, labelled_pixels=50):
    return EvaluateResult(
        message="",
        run_id="run",
        patch_set="set",
        iou=iou,
        dice=0,
        precision=0,
        recall=0,
        iou_all_positive=all_positive,
        per_class={"building": scores(iou, all_positive, labelled_pixels)},
        reference=None if reference is None else scores(reference),
        blocks=4,
    )


@pytest.mark.parametrize(("iou", "passed"), [(0.29, False), (0.3, True), (0.7, True)])
def test_floor(iou, passed):
    gate = floor(result(iou), 0.3)
    assert gate.passed is passed
    assert (gate.value, gate.bound) == (iou, 0.3)
    assert f"test IoU {iou:.3f} must be at least 0.300" in gate.evidence


def test_map_positive_everywhere_never_passes_with_margin_zero():
    assert not above_all_positive(result(0.6, all_positive=0.6), 0.0).passed
    assert above_all_positive(result(0.61, all_positive=0.6), 0.0).passed
    assert not above_all_positive(result(0.61, all_positive=0.6), 0.2).passed


@pytest.mark.parametrize(
    ("error", "bound", "passed"), [(0.04, 0.05, True), (0.06, 0.05, False), (None, 0.05, False), (None, None, True)]
)
def test_calibration_error_is_held_against_its_bound(error, bound, passed):
    gate = calibrated(error, bound)
    assert gate.passed is passed
    assert (gate.value, gate.bound) == (error, bound)


def test_scores_without_labelled_pixels_do_not_count():
    assert not labelled(result(1.0, labelled_pixels=0)).passed
    assert labelled(result(1.0)).passed


def test_champion_that_cannot_be_measured_does_not_block():
    gate = champion_does_not_fit("2", "the model has classes ('a',), patch set x has ('b',)")
    assert gate.passed
    assert "champion v2 cannot be measured" in gate.evidence


def test_failures_name_the_gates_that_did_not_pass():
    gates = score_gates(result(0.1), PromotionConfig(min_iou=0.3, margin_over_all_positive=-1.0))
    assert [gate.passed for gate in gates] == [True, False, True, True]
    assert failures(gates).startswith("floor: test IoU 0.100 must be at least 0.300")


def gate(passed=True, undecided=False):
    return Gate(name="g", passed=passed, value=None, bound=None, evidence="", undecided=undecided)


@pytest.mark.parametrize(
    ("gates", "auto", "unsure", "manual"),
    [
        ([gate()], "yes", "yes", "yes"),
        ([gate(), gate(passed=False)], "no", "no", "no"),
        ([gate(), gate(undecided=True)], "yes", "ask", "ask"),
        ([gate(), gate(passed=False, undecided=True)], "no", "ask", "ask"),
        ([gate(passed=False), gate(undecided=True)], "no", "no", "no"),
    ],
)
def test_what_the_gates_say_under_each_kind_of_approval(gates, auto, unsure, manual):
    judgement = Judgement("1", gates, None)
    assert [judgement.says(approval) for approval in ("auto", "unsure", "manual")] == [auto, unsure, manual]


def test_outcome_of_a_gate_stands_in_its_json_and_old_gates_are_read():
    assert gate(undecided=True).model_dump(mode="json")["outcome"] == "not enough evidence"
    old = {"name": "floor", "passed": False, "value": 0.1, "bound": 0.3, "evidence": "why"}
    assert Gate.model_validate(old).outcome == "failed"
    assert Gate.model_validate(Gate.model_validate(old).model_dump(mode="json")).outcome == "failed"
