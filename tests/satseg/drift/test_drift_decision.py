import numpy as np
import pandas as pd
import pytest

from satseg.config.drift import DriftConfig
from satseg.drift.decision import decide

FEATURES = ("mean_red", "std_red", "gradient_mean")


def profile_of(
    rng: np.random.Generator, scenes: int, blocks: int = 8, *, between: float = 0.0, shift: float = 0.0, name: str = "r"
) -> pd.DataFrame:
    """Patches with scene and block effects (standard deviation of blocks 1); `shift` moves mean_red alone."""
    rows = []
    for scene in range(scenes):
        of_scene = between * rng.normal(size=3)
        for block in range(blocks):
            values = of_scene + rng.normal(size=3) + 0.3 * rng.normal(size=(4, 3))
            values[:, 0] += shift
            rows += [(f"{name}{scene}", f"0_{block}", *row) for row in values]
    return pd.DataFrame(rows, columns=["scene", "block", *FEATURES])


def decided(reference: pd.DataFrame, night: pd.DataFrame, seed: int = 0, level: float = 0.05, **drift):
    return decide(reference, night, FEATURES, DriftConfig(**drift), level, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("reference", "night", "permuted", "bound"),
    [
        (10, 3, "scenes", 0.05),  # 286 ways
        (6, 2, "scenes", 0.05),  # 28 ways
        (4, 1, "blocks", 1 / 5),  # 5 ways
        (2, 2, "blocks", 1 / 3),  # 6 ways, each distance twice
        (1, 1, "blocks", 1 / 3),  # the blocks of the one scene lie in two of its quarters
    ],
)
def test_whole_scenes_are_dealt_wherever_their_number_allows(
    reference: int, night: int, permuted: str, bound: float
) -> None:
    rng = np.random.default_rng(0)
    decision = decided(profile_of(rng, reference), profile_of(rng, night, name="n"))
    assert decision.permuted == permuted
    assert decision.bound == pytest.approx(bound)
    assert bool(decision.warnings) == (permuted == "blocks")


@pytest.mark.parametrize("correction", ["holm", "benjamini-hochberg"])
def test_the_other_corrections_need_finer_p_values_so_that_one_feature_can_alarm(correction: str) -> None:
    rng = np.random.default_rng(0)
    old, new = profile_of(rng, 10), profile_of(rng, 3, shift=9, name="n")
    assert decided(old, new, correction=correction).permuted == "scenes"  # 4/286 <= 0.05
    assert decided(profile_of(rng, 6), profile_of(rng, 2, name="n"), correction=correction).permuted == "blocks"
    assert decided(old, new, correction=correction).drifted


def test_a_strict_project_does_not_fall_back_to_blocks() -> None:
    rng = np.random.default_rng(0)
    decision = decided(profile_of(rng, 4), profile_of(rng, 1, shift=50, name="n"), units="scenes")
    assert decision.permuted is None and not decision.drifted
    assert "4 known and 1 new scenes" in decision.explanation and "With 19 known scenes" in decision.explanation


def test_too_few_blocks_are_not_enough_reference_and_the_message_says_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    decision = decided(profile_of(rng, 1, 4), profile_of(rng, 1, 1, shift=50, name="n"))
    assert decision.permuted is None and not decision.drifted
    assert "4 known and 1 new blocks of 256 px" in decision.explanation
    assert "0.2; 0.05 is needed" in decision.explanation and "With 19 known blocks" in decision.explanation


def test_too_few_permutations_for_the_rate_name_the_setting_and_a_value_that_works() -> None:
    rng = np.random.default_rng(0)
    reference, night = profile_of(rng, 3, 30), profile_of(rng, 1, 30, shift=9, name="n")
    decision = decided(reference, night, permutations=99, level=0.005)
    assert decision.permuted is None
    assert "drift.permutations=99" in decision.explanation and "200" in decision.explanation
    assert decided(reference, night, permutations=200, level=0.005).drifted


@pytest.mark.parametrize(("reference", "night"), [(10, 3), (6, 2), (4, 1), (2, 2), (1, 1)])
def test_a_large_shift_is_found_at_every_level_and_only_in_its_feature(reference: int, night: int) -> None:
    rng = np.random.default_rng(1)
    decision = decided(profile_of(rng, reference, 16), profile_of(rng, night, 16, shift=6, name="n"))
    assert [feature.feature for feature in decision.features if feature.drifted] == ["mean_red"]
    assert decision.features[0].change.startswith("brighter in red by")


def test_a_significant_but_small_distance_is_no_drift() -> None:
    rng = np.random.default_rng(2)
    reference, night = profile_of(rng, 1, 600), profile_of(rng, 1, 600, shift=0.35, name="n")
    decision = decided(reference, night)
    moved = next(feature for feature in decision.features if feature.feature == "mean_red")
    assert moved.p_adjusted <= 0.05 and moved.distance < 0.25
    assert not decision.drifted


@pytest.mark.parametrize(("reference", "night", "bound"), [(6, 2, 0.05), (6, 1, 1 / 7), (2, 2, 1 / 3)])
def test_scenes_that_differ_by_nature_alarm_no_more_often_than_stated(reference: int, night: int, bound: float) -> None:
    """Towns are brighter or darker as wholes, the new ones as the old ones: blocks alone would alarm nearly always."""
    rng, nights = np.random.default_rng(3), 80
    alarms = 0.0
    for _ in range(nights):
        old = profile_of(rng, reference, between=1.0)
        alarms += decided(old, profile_of(rng, night, between=1.0, name="n"), permutations=99).drifted
    assert alarms / nights <= bound + 2.6 * np.sqrt(bound * (1 - bound) / nights)


def test_what_the_scene_guard_holds_back_is_said() -> None:
    rng = np.random.default_rng(4)
    dark, bright = profile_of(rng, 1, 16), profile_of(rng, 1, 16, shift=30, name="b")
    decision = decided(pd.concat([dark, bright]), profile_of(rng, 1, 16, shift=30.5, name="n"))
    assert not decision.drifted
    assert decision.held_back == 1


def test_features_with_one_value_are_not_counted() -> None:
    rng = np.random.default_rng(5)
    reference, night = profile_of(rng, 6), profile_of(rng, 2, name="n")
    reference["std_red"] = night["std_red"] = 7.0
    assert len(decided(reference, night).features) == 2
    for column in FEATURES:
        reference[column] = night[column] = 1.0
    assert decided(reference, night).permuted is None


def test_very_many_patches_are_thinned_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.drift.units.MAX_PATCHES", 300)
    rng = np.random.default_rng(6)
    decision = decided(profile_of(rng, 6, 12), profile_of(rng, 2, 12, shift=6, name="n"))
    assert decision.drifted
    assert "300 of 384 patches" in decision.warnings[0]


def test_a_combination_that_no_scene_shows_is_found_though_each_feature_alone_is_usual() -> None:
    rng = np.random.default_rng(7)

    def towns(count: int, apart: float, name: str) -> pd.DataFrame:
        frame = profile_of(rng, count, name=name)
        level = rng.normal(0, 3, count).repeat(len(frame) // count)
        frame["mean_red"] += level + apart
        frame["std_red"] += level - apart
        return frame

    decision = decided(towns(40, 0.0, "r"), towns(4, 1.2, "n"), level=0.03)
    assert not any(feature.drifted for feature in decision.features)
    assert decision.together is not None and decision.together.drifted
    assert "combination" in decision.together.change
    assert not decided(towns(40, 0.0, "r"), towns(4, 0.0, "n"), level=0.03).drifted


def test_earlier_nights_join_the_null_distribution_but_not_the_distances() -> None:
    rng = np.random.default_rng(8)
    old, new = profile_of(rng, 6), profile_of(rng, 2, shift=3, name="n")
    earlier = profile_of(rng, 3, shift=3, name="e")
    config = DriftConfig()
    alone = decide(old, new, FEATURES, config, 0.05, np.random.default_rng(0))
    joined = decide(old, new, FEATURES, config, 0.05, np.random.default_rng(0), earlier)
    assert "9 known" in joined.explanation and "6 known" in alone.explanation
    distance = {one.feature: one.distance for one in alone.features}
    assert {one.feature: one.distance for one in joined.features} == distance
    assert alone.drifted and not joined.drifted
