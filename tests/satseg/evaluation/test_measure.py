"""Counting by block, choosing samples, drawing, and the stored report."""

from dataclasses import replace

import numpy as np
import pytest

from satseg.errors import BadDataError
from satseg.evaluation.drawing import CORRECT, FALSE, MISSED, agreement, coloured_classes, true_colour
from satseg.evaluation.measure import Measurement, batches, measure, predict_classes
from satseg.evaluation.report import make_report, read_report, report_folder, stored_reports, write_report
from satseg.evaluation.samples import choose
from satseg.evaluation.summary import metrics, summarise
from satseg.evaluation.windows import Batch, HeldOut
from satseg.storage.layout import Workspace

SIZE = 8


def window(number, scene="a", block="0-0", reference=True, positive=True):
    return HeldOut(number, scene, 0, number * SIZE, SIZE, block, reference, positive, 0.0, 0, number)


class ArrayReader:
    """Windows from memory."""

    def __init__(self, labels):
        self.labels = labels

    def read(self, windows):
        labels = np.stack([self.labels[w.number] for w in windows])
        images = labels[..., None].astype(np.uint8) * 100
        return Batch(tuple(windows), images, labels, np.ones(labels.shape, bool))


@pytest.fixture
def labels():
    return np.random.default_rng(3).integers(0, 2, (6, SIZE, SIZE)).astype(np.uint8)


@pytest.fixture
def measured(labels):
    windows = [
        window(0, "b", "0-0"),
        window(1, "a", "0-0"),
        window(2, "a", "0-1"),
        window(3, "a", "0-1"),
        window(4, "c", "0-0", reference=False),
        window(5, "a", "0-0"),
    ]
    measurement = Measurement(("building",))

    # predicts everything right except that scene positions 0, 0 are always background
    def predict(images):
        predicted = (images[..., 0] >= 50).astype(np.uint8)
        predicted[:, 0, :] = 0
        return predicted

    seen = []
    measure(
        measurement,
        predict,
        ArrayReader(labels),
        windows,
        batch_size=2,
        on_batch=lambda batch, predicted: seen.append([w.number for w in batch.windows]),
    )
    return measurement, windows, seen


def test_batches_hold_one_scene_each_and_lose_no_window(measured):
    _, windows, seen = measured
    assert seen == [[1, 2], [3, 5], [0], [4]]
    assert [len(batch) for batch in batches(windows, 100)] == [4, 1, 1]


def test_block_counts_add_up_to_scenes_and_total(measured, labels):
    measurement, _, _ = measured
    assert {(key.scene, key.block) for key in measurement.blocks} == {
        ("a", "0-0"),
        ("a", "0-1"),
        ("b", "0-0"),
        ("c", "0-0"),
    }
    result = summarise(measurement, "v1", "run", "set")
    missed, hit = labels[:, 0, :].sum(), labels[:, 1:, :].sum()
    assert result.iou == pytest.approx(hit / (hit + missed))
    assert result.precision == 1.0
    assert result.per_scene["c"].recall == pytest.approx(labels[4, 1:].sum() / labels[4].sum())
    assert result.per_scene.keys() == {"a", "b", "c"}
    assert result.blocks == 4


def test_reference_and_new_blocks_are_scored_apart(measured, labels):
    result = summarise(measured[0], "v1", "run", "set")
    assert result.new == result.per_scene["c"]
    assert result.reference.pixels == 5 * SIZE * SIZE
    assert result.reference.labelled_pixels == labels[[0, 1, 2, 3, 5]].sum()


def test_no_new_blocks_give_no_new_scores(measured):
    measurement, _, _ = measured
    only = {key: matrix for key, matrix in measurement.blocks.items() if key.reference}
    assert summarise(replace(measurement, blocks=only), "v1", "run", "set").new is None


def test_metric_names(measured):
    names = metrics(summarise(measured[0], "v1", "run", "set"), "test")
    assert {"test/iou", "test/dice", "test/iou_all_positive", "test/reference/iou", "test/new/recall"} <= names.keys()


def test_metrics_of_classes_appear_when_there_are_several():
    measurement = Measurement(("roof", "road"))
    measurement.add(window(0), np.array([[5, 0, 0], [1, 3, 0], [0, 0, 2]]))
    names = metrics(summarise(measurement, "v1", "run", "set"), "test")
    assert names["test/roof/recall"] == pytest.approx(0.75)
    assert names["test/road/iou"] == 1.0
    assert names["test/iou"] == pytest.approx((0.75 + 1.0) / 2)


def test_report_survives_the_disk(measured, tmp_path):
    workspace = Workspace(tmp_path)
    report = make_report(measured[0], summarise(measured[0], "v1", "run", "set"))
    folder = report_folder(workspace, "houses", "run", "set")
    assert read_report(workspace, "houses", "run", "set") is None
    write_report(folder, report)
    assert read_report(workspace, "houses", "run", "set") == report
    assert list(stored_reports(workspace, "houses", "run")) == ["set"]
    counts = report.blocks[0].counts
    assert sum(count for *_, count in counts) == 2 * SIZE * SIZE


def test_damaged_report_counts_as_none(measured, tmp_path):
    workspace = Workspace(tmp_path)
    folder = report_folder(workspace, "houses", "run", "set")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"schema_version": 1')
    assert read_report(workspace, "houses", "run", "set") is None


class Returns:
    """A model that returns one array."""

    class description:  # noqa: N801
        channels = 1

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def predict(self, images):
        return self.probabilities


def test_model_that_returns_nan_is_an_error():
    with pytest.raises(BadDataError, match="NaN or infinite"):
        predict_classes(Returns(np.full((1, 4, 4, 1), np.nan, np.float32)), np.zeros((1, 4, 4, 3), np.uint8), 0.5)


def test_model_that_returns_another_shape_is_an_error():
    with pytest.raises(BadDataError, match=r"returned shape \(1, 2, 2, 1\) instead of \(1, 4, 4, 1\)"):
        predict_classes(Returns(np.zeros((1, 2, 2, 1), np.float32)), np.zeros((1, 4, 4, 3), np.uint8), 0.5)


def test_threshold_itself_is_positive():
    ids = predict_classes(Returns(np.array([[[[0.3], [0.29]]]], np.float32)), np.zeros((1, 1, 2, 3), np.uint8), 0.3)
    assert ids.tolist() == [[[1, 0]]]


def test_samples_are_the_extremes_and_the_middle():
    windows = [window(number) for number in range(11)]
    chosen = choose(windows, {number: number / 10 for number in range(11)}, per_kind=2)
    assert [(kind, w.number) for kind, w in chosen] == [
        ("worst", 0), ("worst", 1), ("typical", 4), ("typical", 5), ("best", 10), ("best", 9),
    ]  # fmt: skip


@pytest.mark.parametrize("count", range(8))
def test_few_windows_are_shown_once_each(count):
    chosen = choose([window(number) for number in range(count)], dict.fromkeys(range(count), 0.5), per_kind=2)
    assert len({w.number for _, w in chosen}) == len(chosen) == min(count, 6)


def test_samples_prefer_windows_with_labels():
    windows = [window(0, positive=False), window(1), window(2, positive=False)]
    assert [w.number for _, w in choose(windows, dict.fromkeys(range(3), 1.0))] == [1]
    assert len(choose([windows[0], windows[2]], dict.fromkeys(range(3), 1.0))) == 2


def test_agreement_colours():
    colour = np.zeros((1, 5, 3), np.uint8)
    labels, predicted = np.array([[1, 0, 1, 0, 1]], np.uint8), np.array([[1, 1, 0, 0, 1]], np.uint8)
    drawn = agreement(colour, labels, predicted, np.array([[True, True, True, True, False]])).astype(int)
    nearest = [min((CORRECT, FALSE, MISSED, (40, 40, 40)), key=lambda c: abs(drawn[0, i] - c).sum()) for i in range(5)]
    assert nearest == [CORRECT, FALSE, MISSED, (40, 40, 40), (40, 40, 40)]


def test_true_colour_takes_bands_by_name_and_centres_the_mean():
    image = np.zeros((2, 2, 4), np.uint16)
    image[..., 2], image[..., 1], image[..., 0], image[..., 3] = 1000, 500, 2000, 60000
    drawn = true_colour(image, ("blue", "green", "red", "nir"), (2000, 500, 500, 9), (100, 100, 250, 9))
    assert drawn[0, 0].tolist() == [255, 127, 127]


def test_class_colours_differ_and_background_is_black():
    drawn = coloured_classes(np.arange(4, dtype=np.uint8)[None])
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert len({tuple(pixel) for pixel in drawn[0]}) == 4
