from pathlib import Path

import numpy as np
import pytest

from satseg.drift import profile
from satseg.drift.profile import ProfileKind, read_profile
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.stages import DriftProfileSpec

KIND = ProfileKind(32, 2, ("red", "green", "blue"))


def profiled(world, *scenes: str, night: str = "2026-03-31"):
    result = profile.run(DriftProfileSpec(project=world.project, night=night, scenes=list(scenes)), world.workspace)
    folder = world.workspace.drift_night("town", night) / "scenes"
    return result, [read_profile(folder / f"{scene}.parquet", KIND) for scene in scenes]


def test_each_scene_gets_a_profile_of_all_its_patches(world) -> None:
    pixels = world.town(0)
    result, (frame,) = profiled(world, world.add("north", pixels))
    assert (result.patches, result.scenes) == (64, ["north"])
    assert len(frame) == 64 and frame["block"].nunique() == 16
    assert set(frame["scene"]) == {"north"}
    one = frame[(frame["row"] == 64) & (frame["col"] == 224)].iloc[0]
    assert one["block"] == "1_3"
    assert one["mean_green"] == pytest.approx(pixels[64:96, 224:256, 1].mean(), rel=1e-6)


def test_reading_in_groups_gives_the_same_profile(world, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = world.add("north", world.town(0))
    _, (whole,) = profiled(world, scene)
    monkeypatch.setattr(profile, "PATCHES_PER_READ", 3)
    _, (grouped,) = profiled(world, scene)
    assert whole.equals(grouped)


@pytest.mark.parametrize("size", [64, 79, 80, 100, 111, 112, 127, 200])
def test_the_patch_at_the_edge_never_reaches_into_another_block(size: int) -> None:
    starts = profile._starts(size, 32)
    assert starts[-1] + 32 > size - 16 and starts[-1] + 32 <= size
    for first in starts:
        for second in starts:
            if first // 64 != second // 64:
                assert abs(first - second) >= 32


def test_a_scene_smaller_than_a_patch_is_warned_about(world) -> None:
    result, (frame,) = profiled(world, world.add("tiny", world.town(0, 64)[:20, :20]))
    assert frame.empty and result.patches == 0
    assert "tiny has no patch of 32 px" in result.warnings[0]


def test_patches_with_mostly_nodata_are_dropped_and_the_rest_says_how_much(world) -> None:
    pixels = np.maximum(world.town(0), 1)
    pixels[:, :40] = 0
    _, (frame,) = profiled(world, world.add("edge", pixels, nodata=0))
    assert frame["col"].min() == 32
    assert frame.loc[frame["col"] == 32, "nodata_fraction"].unique() == pytest.approx([0.25])
    assert frame.loc[frame["col"] > 32, "nodata_fraction"].eq(0).all()


def test_nan_pixels_of_a_single_band_do_not_spoil_the_features(world) -> None:
    pixels = world.town(0).astype(np.float32)
    pixels[:5, :5, 1] = np.nan
    _, (frame,) = profiled(world, world.add("holes", pixels))
    assert np.isfinite(frame[list(KIND.features)].to_numpy()).all()


def test_unknown_scene_is_named_with_what_there_is(world) -> None:
    world.add("north", world.town(0))
    with pytest.raises(NotFoundError, match=r"south .*has north"):
        profiled(world, "south")


@pytest.mark.parametrize("night", ["yesterday", "2026-3-1", "2026-02-30", "20260331"])
def test_a_night_is_a_calendar_date(world, night: str) -> None:
    with pytest.raises(ConfigurationError, match="YYYY-MM-DD"):
        profiled(world, world.add("north", world.town(0)), night=night)


def test_another_number_of_bands_is_bad_data(world) -> None:
    scene = world.add("grey", world.town(0)[..., :1])
    with pytest.raises(BadDataError, match="grey has 1 bands; the project names 3"):
        profiled(world, scene)


def test_a_failed_profile_leaves_nothing(world, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise BadDataError("broken pixels")

    scene = world.add("north", world.town(0))
    monkeypatch.setattr(profile, "patch_features", fail)
    with pytest.raises(BadDataError, match="broken pixels"):
        profiled(world, scene)
    assert list(world.workspace.drift("town").rglob("*.parquet*")) == []


def test_a_profile_of_other_settings_or_a_damaged_one_is_not_taken(world, tmp_path: Path) -> None:
    profiled(world, world.add("north", world.town(0)))
    path = world.workspace.drift_night("town", "2026-03-31") / "scenes" / "north.parquet"
    assert read_profile(path, ProfileKind(64, 2, KIND.bands)) is None
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(BadDataError, match="cannot be read"):
        read_profile(path, KIND)
