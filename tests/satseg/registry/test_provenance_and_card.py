"""Lineage and licence as a gate, and what a model card tells."""

from datetime import UTC, datetime

import pytest

from satseg.config.operation import PromotionConfig
from satseg.config.project import ProjectConfig
from satseg.registry.card import LONGEST, model_card
from satseg.registry.provenance import provenance
from satseg.stages import EvaluateResult, Interval, Scores
from satseg.tracking.runs import RunRecord

TAGS = {
    "satseg.dataset_version": "v1",
    "satseg.patch_set": "a" * 12,
    "satseg.git_commit": "c0ffee" * 6,
    "satseg.git_dirty": "false",
}


def record(**tags):
    params = {"architecture": "linknet", "epochs": "30", "seed": "0"}
    now = datetime.now(UTC)
    found = {name: value for name, value in (TAGS | tags).items() if value is not None}
    return RunRecord("f" * 32, "tiny", "FINISHED", params, {}, found, now, now, "file:///runs")


@pytest.mark.parametrize(
    ("tags", "rules", "passed", "words"),
    [
        ({}, {}, True, "of dataset v1, licence unknown; no licence of the data is stated"),
        ({}, {"licence": "CC-BY-4.0"}, True, "licence CC-BY-4.0"),
        ({}, {"require_licence": True}, False, "no licence of the data is stated (promotion.licence)"),
        ({"satseg.git_dirty": "true"}, {}, True, "the code differed from git commit c0ffeec0ffee"),
        ({"satseg.git_dirty": "true"}, {"require_committed_code": True}, False, "the code differed"),
        ({"satseg.git_commit": "unknown"}, {"require_committed_code": True}, False, "in no git commit that is known"),
        ({"satseg.dataset_version": None}, {}, False, "does not say which dataset version"),
        ({"satseg.dataset_version": "v9"}, {}, False, "dataset version v9 is not in"),
        ({"satseg.patch_set": None}, {}, False, "does not say which patch set"),
        ({"satseg.patch_set": "c" * 12}, {}, True, "patch set cccccccccccc is gone (it can be cut again)"),
    ],
)
def test_lineage_and_licence(world, tags, rules, passed, words):
    gate = provenance(world.workspace, "houses", record(**tags), PromotionConfig(**rules))
    assert gate.passed is passed
    assert words in gate.evidence


def result(scenes):
    def scores(iou):
        return Scores(iou=iou, dice=iou, precision=iou, recall=iou, iou_all_positive=0.2, pixels=1)

    return EvaluateResult(
        message="",
        run_id="f" * 32,
        patch_set="a" * 12,
        iou=0.6123,
        dice=0.75,
        precision=0.7,
        recall=0.8,
        iou_all_positive=0.2,
        ece=0.04,
        per_scene={f"scene{number:04d}": scores(0.6 if number else None) for number in range(scenes)},
        blocks=12,
        intervals={"iou": Interval(value=0.6123, low=0.51, high=0.69, blocks=12, warning="only 12 blocks")},
    )


def card(measured, **promotion):
    project = ProjectConfig(name="houses", description="Roofs.", classes=("building",), gsd_m=0.15, promotion=promotion)

    def of(world):
        return model_card(world.workspace, project, record(), measured)

    return of


def test_card_tells_use_data_training_results_with_intervals_and_limits(world):
    text = card(result(3), intended_use="City maps.", limits="No tents.", licence="CC-BY-4.0")(world)
    for words in (
        "**houses** Roofs.", "**Intended use** City maps.", "at 0.15 m per pixel",
        "dataset v1, patch set aaaaaaaaaaaa:",
        "windows of 32 px", "test 8", "building 50.0%", "Licence: CC-BY-4.0.",
        "architecture linknet, epochs 30, seed 0",
        "code git c0ffee", "on 12 held-out blocks", "| IoU | 0.612 | 0.510 to 0.690 (few blocks) |",
        "| calibration error (ECE) | 0.040 | – |", "scene0001 0.600", "**Limits** No tents. Measured on",
    ):  # fmt: skip
        assert words in text, words
    assert "scene0000" not in text  # nothing is labelled there


def test_card_without_measurement_or_patch_set_says_so_and_many_scenes_do_not_flood_it(world):
    text = card(None)(world)
    assert "not evaluated when it was registered" in text
    assert "Licence: not stated." in text
    long = card(result(500))(world)
    assert "and 487 more" in long
    assert len(long) <= LONGEST
