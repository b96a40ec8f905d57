"""The pictures of a patch set."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from patch_scenes import SceneSpec, Versions, opened, patch, scattered, small_project
from PIL import Image

from satseg.patches.patchset import PatchSet
from satseg.patches.sheet import CLASS_COLOURS, COLOURS, draw_contact_sheet, draw_split_maps, stretched
from satseg.storage.layout import Workspace


def shares(path: Path, code: str, tolerance: int = 40) -> float:
    """Return which part of a picture has about a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    wanted = np.array(to_rgb(code)) * 255
    return float((abs(pixels - wanted).max(axis=2) < tolerance).mean())


@pytest.fixture
def grey(versions: Versions, workspace: Workspace) -> PatchSet:
    """A patch set of a flat grey scene, so that all colour comes from the drawing."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(118, 138, (192, 256, 1)), 3, axis=2).astype(np.uint8)
    versions.add(SceneSpec("a", 192, 256, pixels=pixels, polygons=scattered(40, 192, 256)))
    return opened(workspace, patch(workspace))


def test_the_contact_sheet_lays_labels_over_windows(grey: PatchSet, tmp_path: Path) -> None:
    draw_contact_sheet(grey, tmp_path / "sheet.png")
    labelled = [float((grey.masks(shard) > 0).mean()) for shard in range(len(grey.shard_files()))]
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    cyan = (picture[..., 2] - picture[..., 0] > 60) & (picture[..., 1] - picture[..., 0] > 40)
    assert 0.3 * np.mean(labelled) < cyan.mean() < 3 * np.mean(labelled)
    assert to_rgb(CLASS_COLOURS["cyan"])[0] == 0


def test_the_map_shows_every_split_where_its_windows_are(grey: PatchSet, versions: Versions, tmp_path: Path) -> None:
    draw_split_maps(grey, versions.open(None, "town").scenes, tmp_path / "map.png")
    for code in COLOURS.values():  # borders of held-out windows, legend, and the tinted ground
        assert shares(tmp_path / "map.png", code, 60) > 0.0005


def test_scenes_of_one_band_and_of_floats_can_be_drawn(
    versions: Versions, workspace: Workspace, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).normal(0.2, 0.05, (192, 192, 1)).astype(np.float32)
    pixels[:30, :30] = np.nan
    versions.add(SceneSpec("a", 192, 192, bands=1, dtype="float32", pixels=pixels, polygons=scattered(30, 192, 192)))
    patch_set = opened(workspace, patch(workspace))
    draw_contact_sheet(patch_set, tmp_path / "sheet.png")
    draw_split_maps(patch_set, versions.open(None, "town").scenes, tmp_path / "map.png")
    unit = stretched(pixels, patch_set)
    assert unit.shape == (192, 192, 3)
    assert 0.3 < unit[60:].mean() < 0.7


def test_windows_smaller_than_a_pixel_of_the_map_are_drawn(
    versions: Versions, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.patches.sheet.MAP_PX", 5)
    versions.add(SceneSpec("a", 64, 320, polygons=scattered(30, 64, 320)))
    draw_split_maps(opened(workspace, patch(workspace)), versions.open(None, "town").scenes, tmp_path / "map.png")
    assert shares(tmp_path / "map.png", COLOURS["test"], 60) > 0.0005


@pytest.mark.slow
def test_a_preview_is_logged_once(
    town: str, versions: Versions, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from satseg.tracking.runs import find_runs

    monkeypatch.setattr("satseg.patches.preview.open_version", versions.open)
    result = patch(workspace, preview=True)
    assert [Path(picture).name for picture in result.preview] == ["contact-sheet.png", "splits.png"]
    assert all(Path(picture).is_file() for picture in result.preview)
    (run,) = find_runs(workspace, "town")
    assert (run.id, run.metrics["windows_train"]) == (result.preview_run, result.windows["train"])
    artifacts = Path(run.artifact_uri.removeprefix("file://"))
    assert {path.name for path in artifacts.iterdir()} == {"contact-sheet.png", "splits.png"}
    times = [Path(picture).stat().st_mtime_ns for picture in result.preview]
    again = patch(workspace, preview=True)
    assert (again.changed, again.preview_run) == (False, result.preview_run)
    assert [Path(picture).stat().st_mtime_ns for picture in again.preview] == times
    assert len(find_runs(workspace, "town")) == 1
    assert result.preview_url is None  # SQLite has no address


def test_no_preview_before_there_is_a_patch_set(town: str, workspace: Workspace) -> None:
    result = patch(workspace, small_project(), step="plan", preview=True)
    assert result.preview == []
