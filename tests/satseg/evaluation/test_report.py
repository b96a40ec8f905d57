"""From counts to a result, its names in MLflow, and the files of a report."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from satseg.config.evaluation import EvaluationConfig
from satseg.config.project import ProjectConfig
from satseg.errors import NotFoundError
from satseg.evaluation.evaluate import settings_of
from satseg.evaluation.page import write_page
from satseg.evaluation.report import (
    COLUMNS,
    block_table,
    make_report,
    read_blocks,
    read_report,
    report_folder,
    stored_reports,
    write_report,
)
from satseg.evaluation.summary import metrics, summarise
from satseg.evaluation.tally import BlockKey, Tally
from satseg.storage.layout import Workspace

PROJECT = ProjectConfig(name="houses", classes=("roof", "road"), evaluation={"repetitions": 300})


def tally_of(classes=("roof", "road"), blocks=12):
    """Blocks of two scenes with labels and of one without; the last block came later."""
    random = np.random.default_rng(5)
    scenes = ["a"] * 6 + ["b"] * (blocks - 8) + ["empty"] * 2
    keys = tuple(sorted(BlockKey(scene, f"{scene}/{n}", n != 3) for n, scene in enumerate(scenes)))
    counted = Tally(classes, keys, windows=blocks, bins=5)
    for number, key in enumerate(keys):
        matrix = random.integers(50, 200, counted.confusion.shape[1:])
        matrix[np.diag_indices_from(matrix)] += 500
        if key.scene == "empty":
            matrix[1:] = 0
        counted.confusion[number] = matrix
        if key.scene != "empty":
            counted.rims[number, :, :3] = random.integers(10, 90, (len(classes), 3))
            counted.objects[number, :, :3] = random.integers(1, 9, (len(classes), 3))
            counted.sizes[number, :, :, [0, 2]] = random.integers(1, 99, (2, len(classes), 3))
            counted.objects_by_size[number, :, :, [0, 2]] = random.integers(1, 9, (2, len(classes), 3))
        probability = np.linspace(0.1, 0.9, 5)
        counted.reliability[number] = np.stack([np.full(5, 100), 100 * probability, 100 * probability**2], axis=1)
    return counted


@pytest.fixture(scope="module")
def tally():
    return tally_of()


@pytest.fixture(scope="module")
def result(tally):
    return summarise(tally, PROJECT.evaluation, "v1", "run", "set")


def test_scores_are_those_of_the_summed_blocks(tally, result):
    matrix = tally.confusion.sum(axis=0)
    ious = [matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in (1, 2)]
    assert result.iou == pytest.approx(np.mean(ious))
    assert [result.per_class[name].iou for name in ("roof", "road")] == pytest.approx(ious)
    rims = tally.rims.sum(axis=0)
    assert result.boundary_iou == pytest.approx(np.mean(rims[:, 0] / rims.sum(axis=1)))
    objects = tally.objects.sum(axis=0)
    assert result.per_class["road"].object_f1 == pytest.approx(
        2 * objects[1, 0] / (2 * objects[1, 0] + objects[1, 1] + objects[1, 2])
    )
    sizes = tally.sizes.sum(axis=0)
    assert result.recall_by_size["medium"] == pytest.approx(np.mean(sizes[:, 1, 0] / sizes[:, 1].sum(axis=1)))
    gap = np.abs(np.linspace(0.1, 0.9, 5) - np.linspace(0.1, 0.9, 5) ** 2).mean()
    assert result.ece == pytest.approx(gap)
    assert (result.blocks, result.windows) == (12, 12)


def test_every_number_has_an_interval_around_it(result):
    names = {"iou", "dice", "precision", "recall", "boundary_iou", "object_precision", "object_recall", "object_f1"}
    assert result.intervals.keys() == names | {"ece"}
    for name, interval in result.intervals.items():
        assert interval.value == pytest.approx(getattr(result, name)), name
        assert interval.low <= interval.value <= interval.high, name
    assert result.per_scene["a"].intervals["iou"].blocks == 6
    assert f"({result.intervals['iou'].low:.3f} to {result.intervals['iou'].high:.3f})" in result.message


def test_scene_without_labels_has_no_scores_instead_of_zero(result):
    scene = result.per_scene["empty"]
    assert scene.labelled_pixels == 0
    assert scene.predicted_pixels > 0
    nothing = (scene.iou, scene.dice, scene.precision, scene.recall, scene.boundary_iou, scene.object_f1)
    assert set(nothing) == {None}
    assert scene.intervals.keys() == set()
    assert scene.ece is not None


def test_reference_and_new_blocks_are_scored_apart(tally, result):
    later = [number for number, key in enumerate(tally.keys) if not key.reference]
    assert result.new.pixels == tally.confusion[later].sum()
    assert result.reference.pixels == tally.confusion.sum() - result.new.pixels
    keys = tuple(BlockKey(key.scene, key.block, True) for key in tally.keys)
    other = tally_of()
    other.keys = keys
    assert summarise(other, PROJECT.evaluation, "v1", "run", "set").new is None


def test_of_one_class_the_mean_is_the_class():
    found = summarise(tally_of(("roof",)), EvaluationConfig(repetitions=200), "v1", "run", "set")
    assert found.per_class["roof"].iou == found.iou
    assert found.per_class["roof"].intervals == found.intervals


def test_metric_names(result):
    names = metrics(result, "test")
    assert {
        "test/iou", "test/dice", "test/iou_all_positive", "test/reference/iou", "test/new/recall", "test/roof/recall",
        "test/boundary_iou", "test/object_f1", "test/ece", "test/iou_low", "test/iou_high", "test/recall_small",
    } <= names.keys()  # fmt: skip
    assert all(isinstance(value, float) for value in names.values())
    assert "test/best_threshold" not in names  # of several classes


def test_report_and_block_counts_survive_the_disk(tally, result, tmp_path):
    workspace = Workspace(tmp_path)
    report = make_report(tally, result, "settings")
    folder = report_folder(workspace, "houses", "run", "set")
    assert read_report(workspace, "houses", "run", "set") is None
    with pytest.raises(NotFoundError, match="satseg evaluate run --patch-set set"):
        read_blocks(workspace, "houses", "run", "set")
    folder.mkdir(parents=True)
    write_report(folder, report, block_table(tally))
    assert read_report(workspace, "houses", "run", "set") == report
    assert list(stored_reports(workspace, "houses", "run")) == ["set"]
    table = read_blocks(workspace, "houses", "run", "set")
    assert tuple(table.columns) == COLUMNS
    assert table[["tp", "fp", "fn", "tn", "class_id"]].dtypes.eq("int64").all()
    whole = table[table["size_bin"] == "all"]
    assert len(whole) == 12 * 2
    roofs = whole[whole["class_id"] == 1][["tp", "fp", "fn"]].sum()
    assert result.per_class["roof"].iou == pytest.approx(roofs["tp"] / roofs.sum())
    assert (whole[["tp", "fp", "fn", "tn"]].sum(axis=1).to_numpy() == tally.confusion.sum(axis=(1, 2)).repeat(2)).all()
    small = table[(table["size_bin"] == "small") & (table["class_id"] == 2)]
    assert result.per_class["road"].recall_by_size["small"] == pytest.approx(
        small["tp"].sum() / (small["tp"].sum() + small["fn"].sum())
    )
    assert not table.duplicated(["scene", "block", "class_id", "size_bin"]).any()


def test_damaged_report_counts_as_none(tmp_path):
    workspace = Workspace(tmp_path)
    folder = report_folder(workspace, "houses", "run", "set")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"schema_version": 2')
    assert read_report(workspace, "houses", "run", "set") is None


def test_settings_that_change_numbers_ask_for_a_new_measurement():
    def changed(section, **values):
        given = getattr(PROJECT, section).model_copy(update=values)
        return settings_of(PROJECT.model_copy(update={section: given}))

    before = settings_of(PROJECT)
    assert changed("inference", batch_size=99) == before
    assert changed("inference", threshold=0.4) != before
    assert changed("inference", overlap=0.25) != before
    assert changed("evaluation", boundary_m=2.0) != before


class Resources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.loaded, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in {"src", "href"}]


def test_page_is_one_file_that_shows_numbers_and_pictures(tally, result, tmp_path):
    maps = {}
    for scene in result.per_scene:
        maps[scene] = tmp_path / f"scene-{scene}.png"
        Image.new("RGB", (4, 4)).save(maps[scene])
    Image.new("RGB", (4, 4)).save(tmp_path / "samples.png")
    named = result.model_copy(update={"warnings": ["<b>few</b> blocks"], "threshold": 0.5})
    write_page(tmp_path, PROJECT, make_report(tally, named, "settings"), maps)
    page = (tmp_path / "report.html").read_text()
    parsed = Resources()
    parsed.feed(page)
    assert len(parsed.loaded) == 4
    assert all(address.startswith("data:image/png;base64,") for address in parsed.loaded)
    assert not re.search(r"url\(|@import|<script|<link", page)
    assert f"{result.iou:.3f}" in page
    assert f"{result.intervals['iou'].low:.3f} to {result.intervals['iou'].high:.3f}" in page
    assert "&lt;b&gt;few" in page
    row = re.search(r"<td>empty</td><td class=\"n\">([^<]*)<", page)
    assert row.group(1) == "–"
    assert parsed.tags.count("circle") == 2 * 5
