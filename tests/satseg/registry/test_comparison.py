"""Verdicts on differences, and what champion and challenger are compared in."""

import numpy as np
import pandas as pd
import pytest

from satseg.config.operation import PromotionConfig
from satseg.registry.comparison import compared, comparisons
from satseg.registry.verdict import blocks_needed, verdict
from satseg.stages import Interval

RULES = PromotionConfig(max_iou_loss=0.02, max_slice_loss=0.05, min_blocks=30)


def interval(low, high, blocks=100):
    return Interval(value=(low + high) / 2, low=low, high=high, blocks=blocks)


@pytest.mark.parametrize(
    ("low", "high", "blocks", "outcome"),
    [
        (-0.019, 0.05, 100, "passed"),
        (-0.02, 0.05, 100, "passed"),  # the margin itself is allowed
        (-0.10, -0.03, 100, "failed"),
        (-0.10, 0.03, 100, "not enough evidence"),  # too wide to tell
        (-0.021, -0.0195, 100, "failed"),  # narrow, and still not shown to be within the margin
        (0.10, 0.20, 29, "not enough evidence"),  # however good: intervals of few blocks are not to be trusted
        (-0.50, -0.40, 29, "not enough evidence"),
        (0.10, 0.20, 30, "passed"),
    ],
)
def test_verdict_follows_from_where_the_interval_lies(low, high, blocks, outcome):
    assert verdict(interval(low, high, blocks), 0.02, 30).outcome == outcome


def test_interval_that_is_not_known_decides_nothing():
    unknown = Interval(value=0.1, low=None, high=None, blocks=1)
    assert verdict(unknown, 0.02, 30).outcome == "not enough evidence"
    assert blocks_needed(unknown, 0.02) == 0


def test_blocks_needed_grow_with_the_square_of_width_over_margin_and_with_the_comparisons():
    once = blocks_needed(interval(-0.02, 0.02), 0.02)
    assert once == pytest.approx(100 * 4, rel=0.01)  # (1.96 + 1.96) standard errors must fit into the margin
    assert blocks_needed(interval(-0.04, 0.04), 0.02) == pytest.approx(4 * once, rel=0.01)
    assert blocks_needed(interval(-0.02, 0.02), 0.02, comparisons=10) > once
    assert blocks_needed(interval(-0.02, 0.02), 0.0) > 10**6


def table(blocks, *, fp=0, fn=0, scenes=("east", "west"), classes=(1,), sizes=True, reference=True):
    """Counts of blocks of 100 pixels with 40 labelled; errors are numbers, or an array by block."""
    rows = []
    for block in range(blocks):
        scene = scenes[block * len(scenes) // blocks]
        wrong, missed = (int(np.broadcast_to(errors, blocks)[block]) for errors in (fp, fn))
        for number in classes:
            head = {"scene": scene, "block": f"{block}-0", "class_id": number, "reference": reference}
            counts = {"tp": 40 - missed, "fp": wrong, "fn": missed, "tn": 60 - wrong}
            rows.append(head | {"size_bin": "all"} | counts)
            if sizes:
                small = {"tp": 10 - min(missed, 10), "fp": 0, "fn": min(missed, 10), "tn": 0}
                rows.append(head | {"size_bin": "small"} | small)
    return pd.DataFrame(rows)


def noisy(seed, blocks, mean):
    return np.random.default_rng(seed).poisson(mean, blocks)


def test_whole_scenes_classes_and_sizes_are_compared():
    both = table(8, classes=(1, 2))
    parts = comparisons(both, both, ("house", "road"), ("scene", "class", "size"))
    assert [one.gate_name for one in parts] == [
        "not_worse_than_champion", "not_worse_scene_east", "not_worse_scene_west", "not_worse_class_house",
        "not_worse_class_road", "not_worse_size_small",
    ]  # fmt: skip
    assert [one.score for one in parts] == ["IoU"] * 5 + ["recall"]
    only = comparisons(table(8, scenes=("east",), sizes=False), table(8, scenes=("east",), sizes=False), ("house",),
                       ("scene", "class", "size"))  # fmt: skip
    assert [one.part for one in only] == [""]  # the only scene and class are the whole


def test_scores_are_those_of_summed_pixels():
    ours, theirs = table(6, fp=[0, 2, 4, 6, 8, 10]), table(6, fn=5)
    whole = comparisons(ours, theirs, ("house",), ())[0]
    assert whole.scores() == (pytest.approx(240 / (240 + 30)), pytest.approx(210 / 240))
    assert whole.difference().value == pytest.approx(240 / 270 - 210 / 240)


def test_only_blocks_that_both_have_count_and_only_reference_ones_over_the_whole():
    ours, theirs = table(6), table(6, fn=10)
    new = table(2, fn=40, scenes=("young",)).assign(reference=False)
    parts = comparisons(pd.concat([ours, new]), pd.concat([theirs, new]), ("house",), ("scene",))
    assert parts[0].ours.shape[0] == 6
    assert [one.part for one in parts[1:]] == ["east", "west", "young"]
    assert comparisons(ours, theirs[theirs["scene"] == "west"], ("house",), ())[0].ours.shape[0] == 3


def test_block_of_which_one_model_was_measured_on_a_part_only_does_not_count():
    ours, theirs = table(6), table(6)
    theirs.loc[(theirs["block"] == "2-0") & (theirs["size_bin"] == "all"), "tn"] -= 30
    assert comparisons(ours, theirs, ("house",), ())[0].ours.shape[0] == 5


def test_row_that_only_one_model_has_counts_as_zero_for_the_other():
    ours = table(4, classes=(1, 2), sizes=False)
    theirs = ours[~((ours["class_id"] == 2) & (ours["block"] == "0-0"))]
    of_road = comparisons(ours, theirs, ("house", "road"), ("class",))[2]
    assert of_road.ours.sum(axis=0)[0, 0] == 160
    assert of_road.theirs.sum(axis=0)[0, 0] == 120


def test_equally_good_model_with_enough_blocks_passes_and_one_worse_by_the_margin_does_not():
    champion = table(600, fn=noisy(1, 600, 4), fp=noisy(2, 600, 4), sizes=False)
    equal = table(600, fn=noisy(3, 600, 4), fp=noisy(4, 600, 4), sizes=False)
    worse = table(600, fn=noisy(3, 600, 5), fp=noisy(4, 600, 4), sizes=False)  # IoU lower by 0.023
    for model, outcome in ((equal, "passed"), (worse, "failed")):
        whole = compared(comparisons(model, champion, ("house",), ()), "3", RULES)[0]
        assert whole.outcome == outcome, whole
        assert whole.blocks_needed is not None
        assert whole.blocks_needed <= whole.blocks
        assert whole.low is not None
        assert whole.low < whole.value < whole.high
        assert "of champion v3 on the same blocks" in whole.evidence


def test_too_few_blocks_are_said_and_an_automatic_decision_goes_by_the_measured_difference():
    champion, worse = table(8, fn=2), table(8, fn=noisy(5, 8, 10))
    found = {gate.name: gate for gate in compared(comparisons(worse, champion, ("house",), ("scene",)), "1", RULES)}
    whole, east = found["not_worse_than_champion"], found["not_worse_scene_east"]
    assert (whole.outcome, whole.passed) == ("not enough evidence", False)
    assert "not enough evidence: a verdict needs" in whole.evidence
    assert (east.outcome, east.passed) == ("not enough evidence", True)  # a slice of few blocks is not held against it
    better = compared(comparisons(table(8), champion, ("house",), ()), "1", RULES)[0]
    assert (better.outcome, better.passed) == ("not enough evidence", True)


def test_identical_models_are_not_worse():
    same = table(40, fn=noisy(1, 40, 4))
    assert {gate.outcome for gate in compared(comparisons(same, same, ("house",), ("size",)), "1", RULES)} == {"passed"}


def test_what_nobody_can_measure_is_no_gate():
    empty = table(40).assign(tp=0, fn=0, fp=0)
    assert compared(comparisons(empty, empty, ("house",), ("scene", "size")), "1", RULES) == []
