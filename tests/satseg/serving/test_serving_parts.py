"""Tiles, batches, the request log, int8's helpers."""

import json
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_pictures import png
from serving_world import description, project, wait_for

from satseg.drift.features import feature_names, patch_features
from satseg.scenes.grid import Grid
from satseg.serving.answers import Segmentation
from satseg.serving.batching import Batcher
from satseg.serving.calibration import spread
from satseg.serving.images import RequestImage
from satseg.serving.parity import Differences, mean_iou
from satseg.serving.request_log import RequestLog
from satseg.serving.tiles import predict_tiles, spans


class Doubler:
    """A segmenter whose answer is twice the first band; it says what it was asked, and can be held."""

    def __init__(self):
        self.description, self.calls, self.free = description(), [], threading.Event()
        self.free.set()

    def predict(self, images):
        self.calls.append(images.shape)
        assert self.free.wait(10)
        if (images == 13).any():
            raise ValueError("thirteen")
        return images[..., :1].astype(np.float32) * 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([64, 96, 160]))
def test_tiles_of_a_pixelwise_model_join_to_the_image(height, width, tile_px):
    image = np.random.default_rng(height * 1000 + width).integers(0, 255, (height, width, 2)).astype(np.uint8)
    shapes = []

    def predict(tiles):
        shapes.extend(tile.shape for tile in tiles)
        return [tile.astype(np.float32) / 255 for tile in tiles]

    found = predict_tiles(image, 2, tile_px, predict)
    assert np.allclose(found, image / 255, atol=1e-6)
    assert len(set(shapes)) == 1
    assert all(side % 32 == 0 and side <= tile_px for shape in shapes for side in shape[:2])


@given(st.integers(1, 5000), st.sampled_from([64, 256, 512]))
def test_tiles_cover_the_side_and_overlap(length, tile_px):
    found = spans(length, tile_px)
    assert found.starts[0] == 0
    assert found.starts[-1] + found.length >= length
    gaps = np.diff(found.starts)
    assert (gaps <= found.length - min(64, tile_px // 2) + 1).all()


def test_tiles_that_come_while_the_model_computes_make_one_batch():
    model = Doubler()
    batcher = Batcher(model, most_tiles=3)
    model.free.clear()
    first = batcher.submit(np.zeros((32, 32, 3), np.uint8))
    wait_for(lambda: model.calls)
    others = [batcher.submit(np.full((32, 32, 3), value, np.uint8)) for value in (1, 2, 3, 4)]
    odd = batcher.submit(np.full((64, 32, 3), 5, np.uint8))
    model.free.set()
    assert [int(future.result(5).max()) for future in (first, *others, odd)] == [0, 2, 4, 6, 8, 10]
    assert [shape[:2] for shape in model.calls] == [(1, 32), (3, 32), (1, 32), (1, 64)]
    batcher.close()


def test_error_of_the_model_reaches_those_who_wait_and_nobody_else():
    batcher = Batcher(Doubler(), most_tiles=1)
    bad, good = (batcher.submit(np.full((32, 32, 3), value, np.uint8)) for value in (13, 1))
    with pytest.raises(ValueError, match="thirteen"):
        bad.result(5)
    assert good.result(5).max() == 2
    batcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(np.zeros((32, 32, 3), np.uint8))


def test_profile_of_a_request_is_what_drift_computes_from_its_pixels(start, image):
    live = start()
    live.post(png(image), **{"x-request-id": "first"})
    wait_for(lambda: live.metric('satseg_request_profiles_total{outcome="written"}') == 1)
    [file] = (live.folder / "profiles").iterdir()
    assert file.name == f"{datetime.now(UTC).date()}.jsonl"
    line = json.loads(file.read_text())
    assert (line["request"], line["model"], line["height"], line["width"]) == ("first", "v1", 90, 100)
    assert line["class_fractions"]["building"] == pytest.approx(600 / 9000, abs=1e-4)
    bands = project().bands
    for patch in line["patches"]:
        pixels = image[patch["row"] : patch["row"] + 32, patch["col"] : patch["col"] + 32]
        expected = patch_features(pixels, np.ones((32, 32), bool), bands)
        assert list(patch["features"]) == list(feature_names(bands))
        assert np.allclose(list(patch["features"].values()), expected, rtol=1e-4, atol=1e-6)
    assert len(line["patches"]) == 2


def test_profiles_are_bounded_by_day_and_in_days(image, tmp_path):
    today, outcomes = datetime.now(UTC).date(), []
    for age in (1, 2, 3, 40):
        (tmp_path / f"{today - timedelta(days=age)}.jsonl").write_text("{}\n")
    grid = Grid(100, 90, Affine.identity(), None)
    taken = RequestImage(image, np.ones((90, 100), bool), grid, grid, ())
    found = Segmentation(np.zeros((90, 100), np.uint8), image[..., :1] / 255, grid, ("building",), "v1", 0.5)
    log = RequestLog(tmp_path, project(), days=3, bytes_per_day=4000, on_entry=outcomes.append)
    for number in range(20):
        log.add(str(number), taken, found, 0.9)
    log.close()
    assert {path.stem for path in tmp_path.iterdir()} == {str(today - timedelta(days=age)) for age in (0, 1, 2)}
    file = tmp_path / f"{today}.jsonl"
    assert file.stat().st_size <= 4000
    written = [json.loads(line)["request"] for line in file.read_text().splitlines()]
    assert written == [str(number) for number in range(len(written))]
    assert outcomes == ["written"] * len(written) + ["left out"] * (20 - len(written))
    assert written


def test_calibration_windows_are_spread_over_scenes_and_shares_of_the_class():
    rows = pd.DataFrame(
        {
            "scene": ["common"] * 1000 + ["rare"] * 10,
            "fraction_building": [0.05] * 990 + [0.95] * 10 + [0.5] * 10,
            "number": range(1010),
        }
    )
    chosen = spread(rows, 30, seed=0)
    counts = chosen.groupby(["scene", "fraction_building"]).size()
    assert counts.tolist() == [10, 10, 10]
    assert chosen["number"].tolist() == spread(rows, 30, seed=0)["number"].tolist()
    assert len(spread(rows, 5000, seed=0)) == 1010


def test_differences_are_those_of_plain_numpy_and_nan_is_not_lost():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 3, 8, 8, 1), np.float32)
    labels = rng.integers(0, 2, (3, 8, 8)).astype(np.uint8)
    found = Differences(1)
    for start in (0, 2):
        part = slice(start, start + 2)
        found.add(first[part], second[part], labels[part], 0.5)
    one, other = first[..., 0] >= 0.5, second[..., 0] >= 0.5
    assert found.largest == pytest.approx(np.abs(first - second).max())
    assert found.total / found.values == pytest.approx(np.abs(first - second).mean(), rel=1e-5)
    assert found.flipped == (one != other).sum()
    assert mean_iou(found.original) == pytest.approx((one & (labels > 0)).sum() / (one | (labels > 0)).sum())
    assert mean_iou(found.exported) == pytest.approx((other & (labels > 0)).sum() / (other | (labels > 0)).sum())
    second[0, 0, 0, 0] = np.nan
    found.add(first, second, labels, 0.5)
    found.add(first, first, labels, 0.5)
    assert np.isnan(found.largest)
