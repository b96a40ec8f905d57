import json

import numpy as np
import pandas as pd
import pytest

from satseg.config.project import ProjectConfig
from satseg.drift import compare, nights, profile
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.stages import DriftProfileSpec, DriftResult, DriftTestSpec

NIGHT = "2026-03-31"


def result_of(
    world, scenes: list[str], only: list[str] | None = None, night: str = NIGHT, force: bool = False
) -> DriftResult:
    if scenes:
        spec = DriftProfileSpec(project=world.project, night=night, scenes=scenes)
        profile.run(spec, world.workspace)
    spec = DriftTestSpec(project=world.project, night=night, scenes=only, may_be_empty=True, force=force)
    return compare.run(spec, world.workspace)


def haze(pixels: np.ndarray) -> np.ndarray:
    return 0.5 * 1.15 * pixels + 0.5 * 200


def test_quiet_night_of_other_towns_does_not_alarm(world) -> None:
    world.add_towns(range(6), labelled=True)
    result = result_of(world, world.add_towns(range(10, 13), labelled=False))
    assert (result.verdict, result.drifted, result.permuted) == ("no drift", False, "scenes")
    assert "no drift" in result.message
    assert (result.champion, result.reference_version, result.reference_scenes) == ("v1", "v1", 6)
    assert result.patches == {"reference": 384, "night": 192}


@pytest.mark.parametrize(
    ("change", "word"),
    [(haze, "contrast"), (lambda pixels: 1.3 * pixels, "brighter"), (lambda pixels: 0.7 * pixels, "darker")],
    ids=["haze", "gain up", "gain down"],
)
def test_changes_of_the_sensor_are_found_and_named(world, change, word: str) -> None:
    world.add_towns(range(6), labelled=True)
    result = result_of(world, world.add_towns(range(10, 13), False, change))
    assert (result.verdict, result.drifted) == ("drift", True)
    assert result.p_value is not None and result.p_value <= 0.05
    assert any(word in feature.change for feature in result.features if feature.drifted)
    assert "DRIFT" in result.message


def test_two_reference_scenes_tell_quiet_copies_from_hazed_ones(world) -> None:
    world.add_towns(range(2), labelled=True)
    quiet = [world.add(f"q{seed}", np.clip(world.town(seed) + np.uint8(1), 1, 255)) for seed in range(2)]
    hazed = [world.add(f"h{seed}", haze(world.town(seed).astype(float)).astype(np.uint8)) for seed in range(2)]
    assert result_of(world, quiet).verdict == "no drift"
    result = result_of(world, hazed, night="2026-04-01")
    assert result.verdict == "drift"
    assert result.earlier_nights == []  # the quiet night tells nothing about how towns differ
    assert result.false_alarm_bound == pytest.approx(1 / 3)
    assert result.period_bound == 1.0  # nothing is promised for 30 such nights, and the report says so
    assert "blocks were dealt anew" in result.warnings[0]


def test_what_is_held_back_because_scenes_differ_is_in_the_message(world) -> None:
    world.add("dark", (0.4 * world.town(0)).astype(np.uint8), labelled=True)
    world.add("bright", world.town(1), labelled=True)
    result = result_of(world, [world.add("new", world.town(2))])
    assert result.verdict == "no drift"
    assert "no further than the scenes differ among themselves" in result.message


def test_report_is_the_result_and_the_same_in_every_run(world) -> None:
    world.add_towns(range(2), labelled=True)
    first = result_of(world, world.add_towns(range(10, 12), labelled=False))
    folder = world.workspace.drift_night("town", NIGHT)
    assert DriftResult.model_validate(json.loads((folder / "report.json").read_text())) == first
    assert len(pd.read_parquet(folder / "profile.parquet")) == first.patches["night"]
    assert result_of(world, []) == first
    assert nights.tested_nights(world.workspace, "town") == [NIGHT]


def test_another_seed_deals_other_permutations(world) -> None:
    world.add_towns(range(2), labelled=True)
    first = result_of(world, world.add_towns(range(10, 12), labelled=False))
    drift = world.project.drift.model_copy(update={"seed": 1})
    world.project = world.project.model_copy(update={"drift": drift})
    assert [f.p_value for f in result_of(world, []).features] != [f.p_value for f in first.features]


def test_night_without_scenes_is_no_drift_and_says_so(world) -> None:
    result = result_of(world, [])
    assert (result.verdict, result.drifted, result.p_value) == ("no new scenes", False, None)
    assert nights.read_report(world.workspace, "town", NIGHT) == result
    assert result_of(world, [], only=[]).verdict == "no new scenes"


def test_without_a_champion_there_is_not_enough_reference(world) -> None:
    world.champion = None
    result = result_of(world, [world.add("north", world.town(0))])
    assert (result.verdict, result.drifted) == ("not enough reference", False)
    assert "no champion yet" in result.message
    assert result.scenes == ["north"]


def test_scenes_the_champion_learned_from_are_reference_and_never_new(world) -> None:
    world.add_towns(range(3), labelled=True)
    world.add("unlabelled", world.town(7), labelled=False)
    world.versions["v1"].append(world.versions["v2"][-1])
    result = result_of(world, ["old_0", *world.add_towns(range(10, 12), labelled=False)])
    assert (result.scenes, result.reference_scenes) == (["new_10", "new_11"], 3)
    assert any("Left out, the champion was trained on them: old_0." in warning for warning in result.warnings)
    reference = pd.read_parquet(world.workspace.drift_reference("town", "v1") / "profile.parquet")
    assert set(reference["scene"]) == {"old_0", "old_1", "old_2"}


def test_night_of_nothing_but_training_scenes_has_no_new_scenes(world) -> None:
    world.add_towns(range(2), labelled=True)
    result = result_of(world, ["old_0", "old_1"])
    assert result.verdict == "no new scenes"
    assert "champion v1 was trained on old_0, old_1" in result.message


def test_a_decided_night_is_not_overwritten_by_a_test_of_other_scenes(world) -> None:
    world.add_towns(range(6), labelled=True)
    alarm = result_of(world, world.add_towns(range(10, 13), False, haze))
    assert (alarm.verdict, alarm.kept) == ("drift", False)
    kept = result_of(world, world.add_towns(range(20, 22), labelled=False))
    assert (kept.verdict, kept.kept) == ("drift", True)
    assert "that result is kept, and new_10, new_11, new_12, new_20, new_21 was not tested" in kept.message
    assert nights.read_report(world.workspace, "town", NIGHT) == alarm
    assert len(result_of(world, [], force=True).scenes) == 5
    assert len(nights.read_report(world.workspace, "town", NIGHT).scenes) == 5


def test_a_night_that_nobody_profiled_is_refused_unless_it_may_be_empty(world) -> None:
    with pytest.raises(NotFoundError, match=r"No scene has a profile for night 2026-03-31.*--may-be-empty"):
        compare.run(DriftTestSpec(project=world.project, night=NIGHT), world.workspace)
    assert nights.tested_nights(world.workspace, "town") == []


def test_too_small_scenes_are_not_enough_reference_never_a_silent_pass(world) -> None:
    world.add("old", world.town(0, 64), labelled=True)
    result = result_of(world, [world.add("new", np.full((64, 64, 3), 250, np.uint8))])
    assert (result.verdict, result.drifted) == ("not enough reference", False)
    assert "1 known and 1 new blocks" in result.message


def test_chosen_scenes_alone_are_tested_and_unprofiled_ones_are_named(world) -> None:
    world.add_towns(range(2), labelled=True)
    result_of(world, world.add_towns(range(10, 12), labelled=False))
    assert result_of(world, [], only=["new_10"], force=True).scenes == ["new_10"]
    with pytest.raises(NotFoundError, match=r"No profile of elsewhere .*new_10, new_11.*drift profile --night"):
        result_of(world, [], only=["elsewhere"])


def test_reference_is_profiled_once_and_an_interrupted_one_goes_on(world, monkeypatch: pytest.MonkeyPatch) -> None:
    from satseg.drift import reference

    done: list[str] = []

    def counted(record, kind, share):
        if len(done) == 2 and "old_2" not in done:
            done.append("old_2")
            raise BadDataError("killed")
        done.append(record.id)
        return profile.profile_scene(record, kind, share)

    monkeypatch.setattr(reference, "profile_scene", counted)
    world.add_towns(range(3), labelled=True)
    new = world.add_towns(range(10, 12), labelled=False)
    with pytest.raises(BadDataError, match="killed"):
        result_of(world, new)
    folder = world.workspace.drift_reference("town", "v1")
    assert not (folder / "profile.parquet").exists()
    result_of(world, new)
    result_of(world, new)
    assert done == ["old_0", "old_1", "old_2", "old_2"]


def test_changed_drift_settings_ask_for_a_new_profile(world) -> None:
    world.add_towns(range(2), labelled=True)
    result_of(world, world.add_towns(range(10, 12), labelled=False))
    changed = world.project.model_dump()
    changed["drift"]["patch_px"] = 64
    world.project = ProjectConfig.model_validate(changed)
    with pytest.raises(ConfigurationError, match="drift profile --night 2026-03-31 --scene new_10"):
        result_of(world, [])


def test_a_damaged_report_says_how_to_mend_it(world) -> None:
    result_of(world, [])
    (world.workspace.drift_night("town", NIGHT) / "report.json").write_text("{")
    with pytest.raises(BadDataError, match="drift test --night 2026-03-31"):
        nights.read_report(world.workspace, "town", NIGHT)
