"""Reading held-out windows: each pixel once, nodata never."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from satseg.datasets.repository import GitRepository
from satseg.evaluation.windows import HeldOut, WindowReader, repeated_parts
from satseg.storage.layout import Workspace

SIZE = 8


def window(number, row, col, scene="a", nodata=0.0):
    return HeldOut(number, scene, row, col, SIZE, "0", True, True, nodata, 0, number)


places = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from("ab")), max_size=12)


@given(places)
def test_each_pixel_of_a_scene_counts_once(chosen):
    windows = [window(number, row, col, scene) for number, (row, col, scene) in enumerate(chosen)]
    parts = repeated_parts(windows)
    counted = {scene: np.zeros((40, 40), int) for scene in "ab"}
    covered = {scene: np.zeros((40, 40), bool) for scene in "ab"}
    for one in windows:
        valid = np.ones((SIZE, SIZE), int)
        for rows, cols in parts.get(one.number, ()):
            valid[rows, cols] = 0
        place = (slice(one.row, one.row + SIZE), slice(one.col, one.col + SIZE))
        counted[one.scene][place] += valid
        covered[one.scene][place] = True
    for scene in "ab":
        assert (counted[scene] == covered[scene]).all()


@pytest.fixture
def patch_set():
    pixels = np.zeros((3, SIZE, SIZE, 1), np.uint8)
    return SimpleNamespace(
        project="houses",
        dataset_version="v1",
        images=lambda shard: pixels,
        masks=lambda shard: pixels[..., 0],
    )


@pytest.fixture
def workspace(tmp_path):
    """A dataset of one scene of 8 x 16 pixels whose left columns are nodata."""
    workspace = Workspace(tmp_path)
    scene = workspace.dataset("houses") / "scenes" / "a.tif"
    scene.parent.mkdir(parents=True)
    pixels = np.full((1, SIZE, 2 * SIZE), 7, np.uint8)
    pixels[0, :, :3] = 0
    with rasterio.open(
        scene, "w", driver="GTiff", height=SIZE, width=2 * SIZE, count=1, dtype="uint8", nodata=0
    ) as file:
        file.write(pixels)
    item = {
        "id": "a",
        "properties": {
            "satseg:checksum": hashlib.sha256(scene.read_bytes()).hexdigest(),
            "satseg:annotation_checksum": None,
            "satseg:source": {"checksum": "0" * 64},
            "satseg:ingested_at": "2026-01-01T00:00:00+00:00",
            "satseg:crs": None,
            "satseg:gsd_m": None,
            "satseg:bands": ["grey"],
            "satseg:dtype": "uint8",
            "satseg:nodata": 0,
            "proj:shape": [SIZE, 2 * SIZE],
            "proj:transform": [1, 0, 0, 0, 1, 0],
        },
    }
    items = workspace.dataset("houses") / "items"
    items.mkdir()
    (items / "a.json").write_text(json.dumps(item))
    repository = GitRepository(workspace.data)
    repository.initialise()
    repository.commit(["houses/items"], "first")
    repository.tag("houses/v1", "first")
    return workspace


def test_nodata_pixels_come_from_the_scene(workspace, patch_set):
    with WindowReader(workspace, patch_set) as reader:
        batch = reader.read([window(0, 0, 0, nodata=0.4), window(1, 0, SIZE), window(2, 0, SIZE + 4, nodata=0.5)])
    assert (~batch.valid[0]).sum() == 3 * SIZE
    assert not batch.valid[0][:, :3].any()
    assert batch.valid[1].all()
    assert not batch.valid[2][:, 4:].any()  # outside of the scene
    assert reader.warnings == []


def test_dataset_version_that_is_gone_is_a_warning_not_a_failure(tmp_path, patch_set):
    with WindowReader(Workspace(tmp_path), patch_set) as reader:
        batch = reader.read([window(0, 0, 0, nodata=0.4), window(1, 0, SIZE, nodata=0.1)])
    assert batch.valid.all()
    assert len(reader.warnings) == 1
    assert "Nodata pixels of scene a are counted as data: Project 'houses' has no dataset version" in reader.warnings[0]


def test_whole_windows_never_ask_the_dataset(tmp_path, patch_set, monkeypatch):
    monkeypatch.setattr("satseg.evaluation.windows.find_tag", lambda *args: pytest.fail("looked for the dataset"))
    with WindowReader(Workspace(tmp_path), patch_set) as reader:
        assert reader.read([window(0, 0, 0)]).valid.all()
