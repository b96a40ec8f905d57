"""What the benchmarks that train compute around their trainings."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely.geometry import box, mapping, shape
from shapely.ops import transform

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import few_shot
import kampala_training
from kampala_scenes import GSD_M, HALVED_GSD_M, Light, Part, Score, cut, score

from satseg.config.project import ProjectConfig

WEST, NORTH = 3_628_312.0, 39_135.0


@pytest.fixture
def data(tmp_path):
    """A scene of 80 × 60 pixels whose value is its column, with one roof in columns 20 … 39, rows 10 … 29."""
    folder = tmp_path / "data"
    folder.mkdir()
    profile = {"driver": "GTiff", "width": 80, "height": 60, "count": 3, "dtype": "uint8", "crs": "EPSG:3857"}
    with rasterio.open(folder / "s.tif", "w", **profile, transform=from_origin(WEST, NORTH, GSD_M, GSD_M)) as file:
        file.write(np.broadcast_to(np.arange(80, dtype=np.uint8), (3, 60, 80)))
    roof = box(WEST + 20 * GSD_M, NORTH - 30 * GSD_M, WEST + 40 * GSD_M, NORTH - 10 * GSD_M)
    to_degrees = Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform
    features = [
        {"geometry": mapping(transform(to_degrees, roof)), "properties": {"scene": scene, "class": "building"}}
        for scene in ("s", "other")
    ]
    (folder / "labels.geojson").write_text(json.dumps({"features": features}))
    return folder


def test_a_part_has_its_pixels_its_place_and_the_polygons_in_it(data, tmp_path):
    (file,) = cut(data, [Part("s", first_col=30, end_col=60, first_row=5)], tmp_path / "parts")
    with rasterio.open(file) as part:
        assert part.shape == (55, 30)
        assert part.read(1)[0].tolist() == list(range(30, 60))
        assert part.transform.c == pytest.approx(WEST + 30 * GSD_M)
    (feature,) = json.loads(file.with_suffix(".geojson").read_text())["features"]
    to_metres = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform
    clipped = transform(to_metres, shape(feature["geometry"]))
    assert clipped.area == pytest.approx(10 * 20 * GSD_M**2, rel=1e-3)
    (empty,) = cut(data, [Part("s", first_col=50)], tmp_path / "parts")
    assert json.loads(empty.with_suffix(".geojson").read_text())["features"] == []


def test_another_light_changes_each_band_by_its_own(data, tmp_path):
    light = Light(gains=(1.0, 0.5, 2.0), haze=0.5)
    (file,) = cut(data, [Part("s")], tmp_path / "lit", light)
    with rasterio.open(file) as lit:
        assert lit.read()[:, 0, 40].tolist() == [148, 138, 168]  # (40, 20, 80) / 2 + 127.5, halves to even


def test_the_score_is_the_iou_with_the_polygons_on_the_maps_own_grid(data, tmp_path):
    classes = np.zeros((30, 40), np.uint8)
    classes[5:15, 10:15] = 1  # the western half of the roof, in pixels of twice the size
    classes[0, 0:5] = 1
    grid = {"transform": from_origin(WEST, NORTH, HALVED_GSD_M, HALVED_GSD_M), "crs": "EPSG:3857"}
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 1, "dtype": "uint8"} | grid
    with rasterio.open(tmp_path / "classes.tif", "w", **profile) as file:
        file.write(classes, 1)
    found = score(data, "s", tmp_path / "classes.tif")
    assert found.iou == pytest.approx(50 / 105)
    assert found.all_positive == pytest.approx(100 / 1200)


def test_parts_to_learn_from_and_to_measure_are_those_of_the_issue():
    strip, across = kampala_training.PROTOCOLS["strip"], kampala_training.PROTOCOLS["across"]
    assert strip.train == (Part("ggaba_b"), Part("ggaba_a", end_col=1792))
    assert (strip.test, strip.least) == (Part("ggaba_a", first_col=2048), 0.60)
    assert (across.train, across.test, across.least) == ((Part("ggaba_a"),), Part("ggaba_b"), 0.70)


def test_the_table_judges_the_median_of_the_best_architecture():
    outcomes = [
        kampala_training.Outcome("strip", architecture, seed, Score(iou, 0.25), iou + 0.01, 14.0, 16.0)
        for architecture, ious in (("linknet", (0.5, 0.62, 0.7)), ("unet", (0.61, 0.55, 0.5)))
        for seed, iou in enumerate(ious)
    ]
    first, second = kampala_training.rows(outcomes)
    assert first == (
        "strip", "linknet", "0.500 0.620 0.700", "0.620", "0.630", "0.250", "14.0 (16.0)", "≥ 0.60", "yes"
    )  # fmt: skip
    assert second[-2:] == ("", "")
    missed = [outcome for outcome in outcomes if outcome.architecture == "unet"]
    assert kampala_training.rows(missed)[0][-1] == "NO"


def test_a_training_of_more_than_a_quarter_of_an_hour_misses_the_bar():
    outcome = kampala_training.Outcome("strip", "linknet", 0, Score(0.9, 0.25), 0.9, 15.1, 15.1)
    assert kampala_training.rows([outcome])[0][-1] == "NO"


def test_each_seed_draws_ten_windows_that_the_measured_half_does_not_touch():
    drawn = [few_shot.windows(seed) for seed in range(3)]
    assert len({tuple(windows) for windows in drawn}) == 3
    for windows in drawn:
        assert len(set(windows)) == 10
        assert all(part.end_row <= 1024 < few_shot.SOUTH.first_row for part in windows)
        assert all(part.first_col >= 2048 and part.end_col <= 3072 for part in windows)


def test_the_table_compares_fine_tuning_with_training_from_scratch():
    def of_seed(tuned, scratch):
        return {
            "champion as it is": Score(0.3, 0.25),
            "fine-tuned": Score(tuned, 0.25),
            "from scratch": Score(scratch, 0.25),
        }

    better = few_shot.rows([of_seed(0.5, 0.4), of_seed(0.6, 0.3), of_seed(0.2, 0.5)])
    assert [row[-1] for row in better] == ["", "yes", ""]
    assert better[1][1:5] == ("0.500 0.600 0.200", "0.500", "0.250", "> 0.400")
    assert few_shot.rows([of_seed(0.3, 0.4)])[1][-1] == "NO"


def test_the_project_files_are_valid():
    given = Namespace(backbone="resnet18", epochs=2)
    for content in (kampala_training.project("strip", given), few_shot.few_project("few0", given)):
        assert ProjectConfig.model_validate(content).gsd_m == pytest.approx(0.1493, abs=1e-4)
