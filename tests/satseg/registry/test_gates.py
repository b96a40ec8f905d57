"""The rules of a promotion."""

import numpy as np
import pytest

from satseg.config.operation import PromotionConfig
from satseg.errors import InterruptedRunError
from satseg.models.interface import ModelDescription
from satseg.registry import smoke
from satseg.registry.gates import (
    above_all_positive,
    champion_does_not_fit,
    failures,
    floor,
    labelled,
    not_worse,
    score_gates,
)
from satseg.registry.smoke import fault, sample_images
from satseg.stages import EvaluateResult, Scores


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


def test_challenger_may_lose_exactly_the_allowed_iou():
    challenger, champion = result(0.59, reference=0.59), result(0.60, reference=0.60)
    assert not_worse(challenger, champion, "1", 0.01).passed
    assert not not_worse(challenger, champion, "1", 0.009).passed


def test_comparison_is_on_the_reference_blocks_only():
    better_overall = result(0.8, reference=0.40)
    gate = not_worse(better_overall, result(0.3, reference=0.60), "7", 0.05)
    assert not gate.passed
    assert gate.value == pytest.approx(-0.2)
    assert gate.bound == -0.05
    assert "IoU 0.400 against 0.600 of champion v7 on the reference test blocks of patch set set" in gate.evidence


def test_comparison_falls_back_to_all_test_blocks():
    gate = not_worse(result(0.5), result(0.4), "7", 0.0)
    assert gate.passed
    assert "there are no reference blocks" in gate.evidence


def test_scores_without_labelled_pixels_do_not_count():
    assert not labelled(result(1.0, labelled_pixels=0)).passed
    assert labelled(result(1.0)).passed


def test_champion_that_cannot_be_measured_does_not_block():
    gate = champion_does_not_fit("2", "the model has classes ('a',), patch set x has ('b',)")
    assert gate.passed
    assert "champion v2 cannot be measured" in gate.evidence


def test_failures_name_the_gates_that_did_not_pass():
    gates = score_gates(result(0.1), PromotionConfig(min_iou=0.3, margin_over_all_positive=-1.0))
    assert [gate.passed for gate in gates] == [True, False, True]
    assert failures(gates).startswith("floor: test IoU 0.100 must be at least 0.300")


class Model:
    """A model with one fixed answer for any images."""

    def __init__(self, answer, **changes):
        self.description = ModelDescription(
            **{
                "project": "houses",
                "architecture": "linknet",
                "backbone": "x",
                "bands": ("red", "green", "blue"),
                "dtype": "uint8",
                "classes": ("building",),
                "patch_px": 32,
                "gsd_m": None,
                "mean": (100.0, 100.0, 100.0),
                "std": (300.0, 10.0, 10.0),
                "dataset_version": "v1",
                "patch_set": "set",
            }
            | changes
        )
        self.answer = answer

    def predict(self, images):
        return self.answer(images)


def ones(images):
    return np.ones((*images.shape[:3], 1), np.float32)


def test_smoke_images_fit_the_model():
    images = sample_images(Model(ones).description)
    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == np.uint8
    assert {0, 255} <= {*images[..., 0].ravel()}
    assert sample_images(Model(ones, dtype="float32").description).dtype == np.float32


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ones, None),
        (lambda images: ones(images)[:, ::2], r"shape (2, 16, 32, 1) instead of (2, 32, 32, 1)"),
        (lambda images: ones(images) * np.nan, "NaN or infinite"),
        (lambda images: ones(images) * 3, "1..3"),
    ],
)
def test_smoke_names_what_is_wrong(answer, words):
    found = fault(Model(answer))
    assert found is None if words is None else words.replace("1..3", "3..3") in found


def _raising(error):
    def load(workspace, ref):
        raise error

    return load


def test_model_that_does_not_load_is_a_failed_gate(monkeypatch):
    monkeypatch.setattr(smoke, "load", _raising(ValueError("bad zip")))
    gate = smoke.loads_and_predicts(None, None)
    assert not gate.passed
    assert gate.evidence == "ValueError: bad zip"


def test_being_told_to_stop_is_not_the_models_fault(monkeypatch):
    monkeypatch.setattr(smoke, "load", _raising(InterruptedRunError("SIGTERM")))
    with pytest.raises(InterruptedRunError):
        smoke.loads_and_predicts(None, None)
