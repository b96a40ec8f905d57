"""Drawn demo scenes: the same town for the same seed, labels on the roofs, no easy colours, a well-kept folder."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from satseg.cli.app import main
from satseg.datasets.demo_changes import Change, Look
from satseg.datasets.demo_folder import out_folder
from satseg.datasets.demo_plan import Town
from satseg.datasets.demo_render import Picture
from satseg.datasets.demo_scenes import SceneSet, draw_scene, labelme, write_scenes
from satseg.errors import ConfigurationError, LockHeldError

SMALL = SceneSet(count=2, size_px=256, seed=5)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("towns") / "out"
    write_scenes(out, SMALL)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@cache
def drawn(size_px: int, seed: int, k: int, look: Look) -> tuple[Town, Picture]:
    return draw_scene(SceneSet(k + 1, size_px, seed, look=look), k)


def pixels(**look: Any) -> NDArray[np.float64]:
    return drawn(256, 5, 0, Look(**look))[1].pixels.astype(float)


def test_same_seed_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, SMALL)
    assert contents(tmp_path) == contents(written)
    assert sorted(contents(tmp_path)) == ["town_0.json", "town_0.tif", "town_1.json", "town_1.tif"]


def test_a_scene_depends_on_seed_and_number_not_on_the_count(written: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, SceneSet(count=1, size_px=256, seed=5))
    assert contents(tmp_path)["town_0.tif"] == contents(written)["town_0.tif"]


def test_seeds_and_numbers_give_different_towns_of_one_kind() -> None:
    pictures = [drawn(512, seed, k, Look())[1] for seed, k in ((7, 0), (7, 1), (3, 0))]
    means = np.array([picture.pixels.mean() for picture in pictures])
    assert not np.array_equal(pictures[0].pixels, pictures[1].pixels)
    assert not np.array_equal(pictures[0].pixels, pictures[2].pixels)
    assert np.ptp(means) < 25
    assert all(0.08 < picture.roofs.mean() < 0.5 for picture in pictures)


def test_labels_are_the_roofs() -> None:
    town, picture = drawn(512, 3, 0, Look())
    labels = labelme(town, "x.tif", 512, 0.15)
    mask = np.zeros((512 * 4, 512 * 4), np.uint8)
    for shape in labels["shapes"]:
        points = np.array(shape["points"])
        assert points.min() >= 0 and points.max() <= 512
        cv2.fillPoly(mask, [np.round(points * 4 - 0.5).astype(np.int32)], 1)
    rasterised = cv2.resize(mask * 255, (512, 512), interpolation=cv2.INTER_AREA) >= 128
    roofs = picture.roofs > 0
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(picture.roofs, kernel) != cv2.erode(picture.roofs, kernel)
    assert np.array_equal(rasterised[~edge], roofs[~edge])
    assert (rasterised & roofs).sum() / (rasterised | roofs).sum() > 0.97


def test_written_labels_name_their_picture(written: Path) -> None:
    labels = json.loads((written / "town_1.json").read_text())
    assert labels["imagePath"] == "town_1.tif"
    assert (labels["imageHeight"], labels["imageWidth"]) == (256, 256)
    assert labels["shapes"] and {shape["label"] for shape in labels["shapes"]} == {"building"}


def test_scenes_are_placed_and_apart(written: Path) -> None:
    with rasterio.open(written / "town_0.tif") as first, rasterio.open(written / "town_1.tif") as second:
        assert first.crs.to_epsg() == 32636 and first.res == (0.15, 0.15)
        assert (first.count, first.dtypes[0], first.compression.value) == (3, "uint8", "DEFLATE")
        assert first.descriptions == ("red", "green", "blue")
        assert rasterio.coords.disjoint_bounds(first.bounds, second.bounds)


def test_no_two_places_of_a_set_or_of_neighbouring_seeds_overlap() -> None:
    places = set()
    for seed in range(4):
        scenes = SceneSet(300, 1024, seed)
        places |= {(scenes.transform(k).c, scenes.transform(k).f) for k in range(300)}
    assert len(places) == 1200
    east, north = np.array(sorted(places)).T
    apart = np.maximum(np.abs(east[:, None] - east), np.abs(north[:, None] - north)) + 1e9 * np.eye(1200)
    assert apart.min() >= 1024 * 0.15
    assert SceneSet(1, prefix="night").transform(0) != SceneSet(1, prefix="town").transform(0)


def test_colour_alone_does_not_find_the_roofs() -> None:
    pictures = [drawn(512, 7, k, Look())[1] for k in range(2)]
    codes = [(p.pixels // 32).astype(int) @ np.array([64, 8, 1]) for p in pictures]
    roof = np.bincount(codes[0].ravel(), pictures[0].roofs.ravel(), 512)
    share = roof / np.maximum(np.bincount(codes[0].ravel(), minlength=512), 1)
    truth = pictures[1].roofs > 0
    scores = []
    for threshold in (0.2, 0.3, 0.4, 0.5):
        found = share[codes[1]] > threshold
        scores.append((found & truth).sum() / (found | truth).sum())
    assert max(scores) < 0.6


def test_haze_lowers_contrast_and_raises_the_minimum() -> None:
    clear, hazy = pixels(), pixels(change=Change(haze=0.5))
    assert hazy.std() < 0.7 * clear.std()
    assert hazy.min() > clear.min() + 40


def test_gain_multiplies_the_mean() -> None:
    assert pixels(change=Change(gain=0.8)).mean() / pixels().mean() == pytest.approx(0.8, rel=0.01)


def test_blur_and_noise_act_on_fine_detail() -> None:
    detail = {
        name: np.abs(np.diff(pixels(change=change), axis=1)).mean()
        for name, change in (("plain", Change()), ("blur", Change(blur_px=2)), ("noise", Change(noise_dn=8)))
    }
    assert detail["blur"] < 0.6 * detail["plain"] < 0.6 * detail["noise"]


@pytest.mark.parametrize("season", ["autumn", "winter", "dry"])
def test_a_season_changes_the_look_and_not_the_town(season: Any) -> None:
    plain, changed = (drawn(256, 5, 0, look)[1] for look in (Look(), Look(season=season)))
    assert np.array_equal(plain.roofs, changed.roofs)
    assert np.abs(plain.pixels.astype(float) - changed.pixels).mean() > 5


def test_the_other_sensor_sees_other_colours() -> None:
    one, other = pixels().mean(axis=(0, 1)), pixels(sensor="b").mean(axis=(0, 1))
    assert other[2] / other[0] > 1.15 * one[2] / one[0]


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"not empty.*mine\.txt.*--force"):
        write_scenes(tmp_path, SMALL)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_other_scenes_of_the_same_names_need_force(written: Path, tmp_path: Path) -> None:
    before = contents(written)
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    other = SceneSet(count=2, size_px=256, seed=6)
    with pytest.raises(ConfigurationError, match=r"town_0\.tif exists.*--force"):
        write_scenes(tmp_path, other)
    assert contents(tmp_path) == before
    write_scenes(tmp_path, other, force=True)
    assert contents(tmp_path)["town_1.tif"] != before["town_1.tif"]


def test_an_interrupted_set_is_completed(written: Path, tmp_path: Path) -> None:
    whole = contents(written)
    (tmp_path / "town_0.tif").write_bytes(whole["town_0.tif"])
    (tmp_path / ".tmp-0a1b2c3d-town_0.json").write_text("{")
    write_scenes(tmp_path, SMALL)
    assert contents(tmp_path) == whole


def test_two_processes_never_fill_one_folder(tmp_path: Path) -> None:
    with out_folder(tmp_path, set(), force=False), pytest.raises(LockHeldError, match="Another process"):
        write_scenes(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--count", "0"], "--count is 0"),
        (["--size", "100"], "--size is 100; it must lie between 256"),
        (["--size", "4096", "--gsd", "1"], "several smaller scenes"),
        (["--haze", "2"], "--haze is 2; it must lie between 0 and 1"),
        (["--gain", "-1"], "--gain is -1"),
        (["--blur", "-1"], "--blur is -1"),
        (["--noise", "nan"], "--noise is nan"),
        (["--season", "spring"], "summer, autumn, winter, dry"),
        (["--sensor", "c"], "Choose one of: a, b"),
        (["--prefix", "a/b"], "--prefix 'a/b'"),
        (["--suffix", "x"], "--suffix has no meaning without --from"),
        (["--from", "/nowhere"], "/nowhere: no such folder"),
    ],
)
def test_bad_options_are_named(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo-scenes", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--count", "1", "--size", "256", "--prefix", "night", "--unlabelled", "--json"]
    assert main(["demo-scenes", str(out), *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"scenes": ["night_0"], "folder": str(out)}
    assert [path.name for path in out.iterdir()] == ["night_0.tif"]
