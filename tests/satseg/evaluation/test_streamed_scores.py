"""Boundary IoU, objects and calibration, counted row by row, against slow references and cases counted by hand."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from satseg.evaluation import calibration
from satseg.evaluation.boundary import BoundaryCounter, rim
from satseg.evaluation.intervals import FN, FP, TP, dice, iou
from satseg.evaluation.objects import ObjectCounter
from satseg.evaluation.tally import BlockKey, Scored, Tally, add_counts

CLASSES, BLOCKS = 2, 3


@st.composite
def grounds(draw):
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 10))
    ids = hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES))
    known = draw(hnp.arrays(np.bool_, shape, fill=st.just(True)))
    labels, predicted = (np.where(known, draw(ids), 0).astype(np.uint8) for _ in range(2))
    blocks = draw(hnp.arrays(np.int32, shape, elements=st.integers(0, BLOCKS - 1)))
    return Scored(labels, predicted, known, blocks)


def tally():
    keys = tuple(BlockKey("a", str(number), True) for number in range(BLOCKS))
    return Tally(("roof", "road"), keys, windows=1, bins=5)


def in_strips(counter, ground, heights):
    start = 0
    for height in heights:
        if start < len(ground.labels):
            counter.add(ground.rows(start, start + height))
            start += height
    if start < len(ground.labels):
        counter.add(ground.rows(start, len(ground.labels)))
    counter.finish()


heights = st.lists(st.integers(1, 5), max_size=4)


# --- boundary -------------------------------------------------------------------------------------------------


def slow_rim(mask, known, distance):
    """Pixels of the mask from which `distance` steps to any of eight neighbours lead to a known pixel outside."""
    near = np.zeros(mask.shape, bool)
    for row, col in zip(*np.nonzero(mask), strict=True):
        for other in zip(*np.nonzero(known & ~mask), strict=True):
            near[row, col] |= max(abs(row - other[0]), abs(col - other[1])) <= distance
    return near


@settings(max_examples=60, deadline=None)
@given(grounds(), heights, st.integers(1, 4))
def test_rims_counted_in_strips_equal_a_search_over_all_pixels(ground, heights, distance):
    counts = np.zeros((BLOCKS, CLASSES, 4), np.int64)
    in_strips(BoundaryCounter(counts, distance), ground, heights)
    for number in range(CLASSES):
        truth, guess = (
            slow_rim((ids == number + 1) & ground.known, ground.known, distance)
            for ids in (ground.labels, ground.predicted)
        )
        for block in range(BLOCKS):
            here = ground.blocks == block
            expected = ((truth & guess & here).sum(), (guess & ~truth & here).sum(), (truth & ~guess & here).sum(), 0)
            assert counts[block, number].tolist() == list(expected)


def test_boundary_iou_of_a_shifted_square_by_hand():
    truth, guess, known = np.zeros((30, 30), bool), np.zeros((30, 30), bool), np.ones((30, 30), bool)
    truth[5:15, 5:15] = True
    guess[5:15, 6:16] = True  # one column to the right
    # rims one pixel wide have 36 pixels each; in common: the top and bottom rows, 9 columns wide
    one = [rim(mask, known, 1) for mask in (truth, guess)]
    assert [mask.sum() for mask in one] == [36, 36]
    assert (one[0] & one[1]).sum() == 18
    # two wide: 64 each; in common two rows above and below, 9 wide, and one column on each side between them, 6 high
    two = [rim(mask, known, 2) for mask in (truth, guess)]
    assert [mask.sum() for mask in two] == [64, 64]
    assert (two[0] & two[1]).sum() == 2 * 2 * 9 + 2 * 6
    assert (truth & guess).sum() / (truth | guess).sum() == pytest.approx(90 / 110)  # mask IoU hardly notices


def test_edge_of_the_known_ground_is_no_contour():
    mask, known = np.ones((6, 6), bool), np.ones((6, 6), bool)
    assert not rim(mask, known, 2).any()
    mask[:, 3:] = False
    assert rim(mask, known, 1)[:, 2].all()
    known[:, 3:] = False
    assert not rim(mask, known, 1).any()


# --- objects --------------------------------------------------------------------------------------------------


def flood(ids):
    """Components of equal class by breadth-first search, as (class, frozenset of pixels)."""
    left = {tuple(place): int(ids[tuple(place)]) for place in np.argwhere(ids > 0)}
    found = []
    while left:
        start = next(iter(left))
        class_id, queue, pixels = left.pop(start), deque([start]), {start}
        while queue:
            row, col = queue.popleft()
            for near in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                if left.get(near) == class_id:
                    left.pop(near)
                    pixels.add(near)
                    queue.append(near)
        found.append((class_id, frozenset(pixels)))
    return found


def slow_objects(ground, least, edges):
    counted = tally()
    truths, guesses = flood(ground.labels), flood(ground.predicted)

    def place(pixels):
        return ground.blocks[min(pixels)]

    matched = set()
    for class_id, pixels in truths:
        partner = [
            other for other in guesses if other[0] == class_id and len(pixels & other[1]) / len(pixels | other[1]) > 0.5
        ]
        assert len(partner) <= 1
        matched |= set(partner)
        size = sum(len(pixels) >= edge for edge in edges)
        right = sum(ground.predicted[pixel] == class_id for pixel in pixels)
        counted.sizes[place(pixels), class_id - 1, size, [TP, FN]] += [right, len(pixels) - right]
        if len(pixels) >= least:
            entry = TP if partner and len(partner[0][1]) >= least else FN
            counted.objects[place(pixels), class_id - 1, entry] += 1
            counted.objects_by_size[place(pixels), class_id - 1, size, entry] += 1
    for one in guesses:
        if one not in matched and len(one[1]) >= least:
            counted.objects[place(one[1]), one[0] - 1, FP] += 1
    return counted


@settings(max_examples=150, deadline=None)
@given(grounds(), heights, st.integers(1, 3))
def test_objects_matched_in_strips_equal_a_flood_fill(ground, heights, least):
    counted, expected = tally(), slow_objects(ground, least, (3, 6))
    in_strips(ObjectCounter(counted, least, (3, 6)), ground, heights)
    for name in ("objects", "sizes", "objects_by_size"):
        assert (getattr(counted, name) == getattr(expected, name)).all(), name


def drawn(*lines):
    return np.array([[int(pixel) if pixel != "." else 0 for pixel in line] for line in lines], np.uint8)


def test_object_f1_by_hand():
    labels = drawn(
        "11..11..",
        "11..11..",
        "........",
        "11....11",
        "11....11",
    )
    predicted = drawn(
        "111..1..",  # 4 of 6 pixels: IoU 0.67, found; and 2 of 4 pixels: IoU 0.5, which is not above 0.5
        "111..1..",
        "........",
        "..11..11",  # beside it: missed and invented; and exact
        "..11..11",
    )
    counted = tally()
    ground = Scored(labels, predicted, np.ones(labels.shape, bool), np.zeros(labels.shape, np.int32))
    in_strips(ObjectCounter(counted, 1, (5, 9)), ground, [1, 1, 1, 1])
    assert counted.objects[0, 0].tolist() == [2, 2, 2, 0]
    assert dice(counted.objects[0, 0].astype(float)) == pytest.approx(0.5)


def test_one_prediction_over_two_houses_finds_at_most_one():
    labels, predicted = drawn("11.1"), drawn("1111")
    counted = tally()
    ground = Scored(labels, predicted, np.ones(labels.shape, bool), np.zeros(labels.shape, np.int32))
    in_strips(ObjectCounter(counted, 1, (5, 9)), ground, [])
    assert counted.objects[0, 0].tolist() == [0, 1, 2, 0]


# --- calibration ----------------------------------------------------------------------------------------------

pixels = st.integers(1, 60).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.float32, (size, CLASSES), elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.uint8, size, elements=st.integers(0, CLASSES)),
        hnp.arrays(np.int32, size, elements=st.integers(0, BLOCKS - 1)),
    )
)


@settings(max_examples=60, deadline=None)
@given(pixels, st.integers(2, 12))
def test_calibration_error_equals_its_definition(drawn_pixels, bins):
    probabilities, labels, blocks = drawn_pixels
    counted = np.zeros((BLOCKS, CLASSES, bins, 3))
    calibration.count_reliability(counted, probabilities, labels, blocks)
    error = calibration.calibration_error(counted.sum(axis=0))
    for number in range(CLASSES):
        expected = 0.0
        of_class, truth = probabilities[:, number].astype(float), labels == number + 1
        which = np.minimum((probabilities[:, number] * np.float32(bins)).astype(int), bins - 1)
        for chosen in (which == one for one in range(bins)):
            if chosen.any():
                expected += chosen.mean() * abs(of_class[chosen].mean() - truth[chosen].mean())
        assert error[number] == pytest.approx(expected, abs=1e-6)
    totals = calibration.gaps(counted).sum(axis=0)[None]
    assert calibration.mean_error(totals)[0] == pytest.approx(error.mean(), abs=1e-9)


def test_probabilities_that_mean_what_they_say_have_no_error():
    random = np.random.default_rng(0)
    probabilities = random.random((200_000, 1), np.float32)
    labels = (random.random(200_000) < probabilities[:, 0]).astype(np.uint8)
    for shift, expected in ((1.0, 0.0), (0.5, 0.25)):
        counted = np.zeros((1, 1, 15, 3))
        calibration.count_reliability(counted, probabilities * np.float32(shift), labels, np.zeros(200_000, np.int32))
        assert calibration.calibration_error(counted)[0, 0] == pytest.approx(expected, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(pixels)
def test_sweep_equals_the_iou_at_each_threshold(drawn_pixels):
    probabilities, labels = drawn_pixels[0][:, 0], drawn_pixels[1]
    levels = np.zeros((calibration.SWEEP_LEVELS + 1, 2), np.int64)
    calibration.count_levels(levels, probabilities, labels)
    sweep = calibration.threshold_sweep(levels)
    assert bool(sweep) == bool((labels > 0).any())
    for one in sweep:
        predicted = np.floor(probabilities * np.float32(100)) >= round(100 * one.threshold)
        counts = np.array([(predicted & (labels > 0)).sum(), (predicted & (labels == 0)).sum(), 0, 0], float)
        counts[FN] = (labels > 0).sum() - counts[TP]
        assert one.iou == pytest.approx(iou(counts))
    best = calibration.best_threshold(sweep)
    assert best is None or best.iou == max(one.iou for one in sweep)


def test_of_equally_good_thresholds_the_middle_one_is_named():
    levels = np.zeros((calibration.SWEEP_LEVELS + 1, 2), np.int64)
    levels[[10, 90], [0, 1]] = 5
    assert calibration.best_threshold(calibration.threshold_sweep(levels)) == (0.5, 1.0)


def test_counts_of_blocks_add_up():
    target = np.array([1, 0, 0])
    add_counts(target, np.array([0, 2, 2], np.int32))
    assert target.tolist() == [2, 0, 2]


def test_what_is_held_does_not_grow_with_the_rows_that_pass():
    random = np.random.default_rng(0)
    counted = tally()
    boundary, objects = BoundaryCounter(counted.rims, 3), ObjectCounter(counted, 1, (5, 9))
    held = []
    for _ in range(40):
        ids = random.integers(0, 2, (2, 16, 30)).astype(np.uint8)
        rows = Scored(ids[0], ids[1], np.ones(ids[0].shape, bool), np.zeros(ids[0].shape, np.int32))
        boundary.add(rows)
        objects.add(rows)
        held.append((len(boundary._held.labels), len(objects._truth.pending) + len(objects._guess.pending)))
    assert max(rows for rows, _ in held) <= 2 * 3
    assert max(pending for _, pending in held[20:]) <= 2 * max(pending for _, pending in held[:20])
