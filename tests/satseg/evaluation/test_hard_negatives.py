"""The list of hard negatives that an evaluation writes, and that the patch engine reads."""

from types import SimpleNamespace

import numpy as np
import pytest
from shapely import box

from satseg.annotations.table import AnnotationTable, LabelledPolygon, write_table
from satseg.config.project import parse_project
from satseg.evaluation.hard_negatives import LIST_FILE, write_hard_negatives
from satseg.patches.hard_negatives import read_hard_negatives
from satseg.patches.patchset import MANIFEST_FILE

SIZE = 32
BRIGHT = (0, 32)  # a bright window without labels: what the model falls for


class Brightness:
    """Takes bright pixels for a class."""

    description = SimpleNamespace(channels=1)

    def predict(self, images):
        return (images.mean(axis=-1, keepdims=True) > 128).astype(np.float32)


@pytest.fixture
def project():
    return parse_project("name: houses\nclasses: [building]\npatches: {size_px: 32, stride_px: 32, block_px: 32}", "p")


@pytest.fixture
def patch_set(dataset, workspace):
    """A bright window with a label, one without, a dark one, a sampled-out bright one, and bright ones elsewhere."""
    pixels = np.full((SIZE, SIZE * 6, 3), 40, np.uint8)
    for col in (0, 32, 96, 128, 160):
        pixels[8:24, col + 8 : col + 24] = 220
    dataset.add("town", pixels)
    dataset.tag("v1")
    windows = [("town", 0, col, split, f"b{col}") for col, split in
               ((0, "train"), (32, "train"), (64, "train"), (96, "train"), (128, "test"), (160, "train"))]  # fmt: skip
    made = dataset.patch_set("a" * 12, windows)
    table = made.manifest().assign(positive=[True, False, False, False, False, False])
    table["reason"] = ["", "", "", "negative sampling", "", "buffer"]
    table["kept"] = table["reason"] == ""
    table.to_parquet(made.folder / MANIFEST_FILE)
    return made


@pytest.fixture
def scenes(workspace):
    from satseg.evaluation.scene_pass import Scenes

    return lambda patch_set: Scenes(workspace, patch_set)


def test_training_negatives_that_are_found_positive_are_listed_and_read_back(
    workspace, project, patch_set, scenes
) -> None:
    path = workspace.root / LIST_FILE
    assert write_hard_negatives(path, project, patch_set, scenes(patch_set), Brightness()) == 2
    assert path.read_text().splitlines()[0] == "scene,row,col,size,wrong_fraction"
    named = project.patches.model_copy(update={"hard_negatives": LIST_FILE})
    read = read_hard_negatives(named, workspace)
    # neither positives, test windows, nor ground in the buffer; the one that sampling left out comes back
    assert read.rects["town"].tolist() == [[0, 32, 32, 64], [0, 96, 32, 128]]
    assert path.read_text().splitlines()[1].endswith("0.25")  # 16 of 32 pixels a side


def test_labelled_pixels_are_not_wrong(workspace, project, patch_set, scenes, monkeypatch) -> None:
    """A negative may hold a sliver of a label: finding that is right."""
    from satseg.evaluation import hard_negatives

    find = scenes(patch_set)
    roof = workspace.root / "labels.geojson"
    record = find.find("town")
    left, top = record.transform[2], record.transform[5]
    outline = box(left + 20, top - 12, left + 28, top - 4)  # the bright square of the second window at 0.5 m
    write_table(AnnotationTable((LabelledPolygon(outline, 1, "building"),)), roof, record.crs)
    monkeypatch.setattr(
        find, "find", lambda scene: record.__class__(**{**record.__dict__, "annotations": roof, "labelled": True})
    )
    table = hard_negatives.found_wrong(project, patch_set, find, Brightness())
    assert table["col"].tolist() == [96]


def test_a_model_without_faults_gives_an_empty_list_that_can_be_read(workspace, project, patch_set, scenes) -> None:
    class Blind(Brightness):
        def predict(self, images):
            return np.zeros((*images.shape[:3], 1), np.float32)

    path = workspace.root / LIST_FILE
    assert write_hard_negatives(path, project, patch_set, scenes(patch_set), Blind()) == 0
    named = project.patches.model_copy(update={"hard_negatives": LIST_FILE})
    assert len(read_hard_negatives(named, workspace)) == 0
