import re

import numpy as np
import pandas as pd
import pytest

from satseg.config.project import ProjectConfig
from satseg.drift import compare, profile
from satseg.drift.gauge import gauge_text
from satseg.drift.looks import PREDICTION_SHARE
from satseg.drift.period import period_of
from satseg.drift.predictions import STATISTICS
from satseg.drift.reference import Champion, in_season
from satseg.drift.sequential import night_level
from satseg.stages import DriftProfileSpec, DriftResult, DriftTestSpec


def configured(world, **drift: object) -> None:
    values = world.project.model_dump()
    values["drift"] |= drift
    world.project = ProjectConfig.model_validate(values)


def night_of(world, scenes: list[str], night: str) -> DriftResult:
    profile.run(DriftProfileSpec(project=world.project, night=night, scenes=scenes), world.workspace)
    return compare.run(DriftTestSpec(project=world.project, night=night), world.workspace)


def test_the_period_holds_decided_nights_against_this_champion_in_stretches(world, tested) -> None:
    configured(world, quiet_nights=3)
    for day, verdict, champion in (
        (1, "no drift", "v1"),
        (2, "no new scenes", "v1"),
        (3, "drift", "v1"),
        (4, "no drift", "v0"),
        (5, "no drift", "v1"),
        (6, "no drift", "v1"),
    ):
        tested(f"2026-03-0{day}", verdict, champion)
    seen = {day: period_of(world.workspace, world.project, f"2026-03-0{day}", "v1").nights for day in range(1, 8)}
    assert seen[1] == []
    assert seen[4] == ["2026-03-01", "2026-03-03"]
    assert seen[6] == []  # three nights have been decided: a new stretch
    assert seen[7] == ["2026-03-06"]
    assert period_of(world.workspace, world.project, "2026-03-07", "v9").nights == []


def test_level_and_bounds_are_in_the_result(world) -> None:
    world.add_towns(range(6), labelled=True)
    result = night_of(world, world.add_towns(range(10, 13), labelled=False), "2026-03-01")
    assert result.level == pytest.approx(night_level(0.05, 30, 2, 3))
    assert result.false_alarm_bound == result.level
    assert result.period_bound == pytest.approx(0.05, rel=1e-3)
    assert result.quiet_nights == 30 and result.correction == "step-down maxT"


def test_scenes_of_earlier_nights_join_the_reference_once(world) -> None:
    world.add_towns(range(6), labelled=True)
    first = world.add_towns(range(10, 12), labelled=False)
    night_of(world, first, "2026-03-01")
    second = night_of(world, [*first, *world.add_towns(range(20, 21), labelled=False)], "2026-03-02")
    assert second.earlier_nights == ["2026-03-01"]
    assert "6 known, 3 of the night" in second.message  # the scenes it shows again count for itself
    third = night_of(world, world.add_towns(range(30, 32), labelled=False), "2026-03-03")
    assert "9 known, 2 of the night" in third.message


def test_the_season_is_chosen_across_new_year(world) -> None:
    table = pd.DataFrame({"scene": list("abcd"), "taken": ["2025-12-28", "2026-07-01", "2024-01-20", ""]})
    kept, words = in_season(table, "2026-01-05", 30)
    assert list(kept["scene"]) == ["a", "c"]
    assert words is not None and "2 of 4 reference scenes" in words and "1 have no date" in words
    assert in_season(table, "2026-01-05", None) == (table, None)


def test_no_reference_of_the_season_is_not_enough_reference(world) -> None:
    configured(world, reference_season_days=30)
    world.add_towns(range(3), labelled=True)
    result = night_of(world, world.add_towns(range(10, 12), labelled=False), "2026-03-01")
    assert result.verdict == "not enough reference"
    assert "0 of 3 reference scenes were taken within 30 days" in result.message


def test_kinds_and_severity_tell_blur_from_brightness(world) -> None:
    import cv2

    world.add_towns(range(8), labelled=True)
    brighter = night_of(world, world.add_towns(range(10, 13), False, lambda p: p + 60), "2026-03-01")
    blurred = night_of(
        world, world.add_towns(range(20, 23), False, lambda p: cv2.GaussianBlur(p, (0, 0), 1.5)), "2026-04-01"
    )
    assert brighter.kinds[0] == "radiometric" and blurred.kinds[0] == "texture"
    assert brighter.severity == blurred.severity == "severe"
    assert night_of(world, world.add_towns(range(30, 32), labelled=False), "2026-05-01").severity is None


class TestPredictions:
    """What the champion predicts, beside what the pixels show."""

    @pytest.fixture
    def maps(self, world, monkeypatch: pytest.MonkeyPatch):
        """Predictions of all scenes: as usual, or in scenes whose name begins with "odd" nothing but roofs."""

        def predicted(workspace, project, model: str, rows: pd.DataFrame, records) -> pd.DataFrame:
            rng = np.random.default_rng(len(rows))
            found = rows[["scene", "checksum", "block", "row", "col"]].reset_index(drop=True)
            for name in STATISTICS:
                found[name] = rng.normal(0.3, 0.1, len(found)).astype(np.float32)
            found.loc[found["scene"].str.startswith("odd"), "positive_fraction"] += 0.6
            return found

        world.champion = Champion("v1", "v1", "p1", "r1")
        monkeypatch.setattr("satseg.drift.looks.predictions_of", predicted)
        monkeypatch.setattr("satseg.drift.looks.held_out", lambda found, *arguments: found)
        world.add_towns(range(20), labelled=True)

    def test_odd_predictions_on_usual_pixels_are_prediction_drift(self, world, maps) -> None:
        configured(world, permutations=999)
        odd = night_of(world, [world.add(f"odd{seed}", world.town(seed)) for seed in range(30, 33)], "2026-03-01")
        assert odd.drifted and odd.kinds == ["prediction"]
        assert "Predicted:" in odd.message or "predicted:" in odd.message
        assert not any(test.drifted for test in odd.features)
        usual = night_of(world, world.add_towns(range(40, 43), labelled=False), "2026-03-02")
        assert not usual.drifted and len(usual.predictions) == len(STATISTICS)
        assert PREDICTION_SHARE < 1

    def test_what_the_encoder_sees_otherwise_is_content_drift(self, world, maps, monkeypatch) -> None:
        def seen(rows: pd.DataFrame, records, model, px: int) -> pd.DataFrame:
            rng = np.random.default_rng(len(rows))
            values = rng.normal(size=(len(rows), 8)).astype(np.float32)
            values[rows["scene"].str.startswith("strange").to_numpy()] *= 3  # no mean moves
            columns = [f"embedding_{place:04d}" for place in range(8)]
            return pd.concat([rows.reset_index(drop=True), pd.DataFrame(values, columns=columns)], axis=1)

        monkeypatch.setattr("satseg.drift.looks.with_embeddings", seen)
        monkeypatch.setattr("satseg.drift.looks.Question.model_folder", lambda question: None)
        configured(world, embeddings=True, permutations=999)
        usual = night_of(world, world.add_towns(range(40, 43), labelled=False), "2026-03-01")
        assert not usual.drifted
        strange = night_of(
            world, [world.add(f"strange{seed}", world.town(seed)) for seed in range(30, 33)], "2026-03-02"
        )
        assert strange.drifted and strange.kinds == ["content"]
        assert "champion's encoder" in strange.message
        assert strange.earlier_nights == ["2026-03-01"]

    def test_without_predictions_the_pixels_decide_alone_and_that_is_said(self, world) -> None:
        world.add_towns(range(6), labelled=True)
        result = night_of(world, world.add_towns(range(10, 13), labelled=False), "2026-03-01")
        assert any("has not predicted all scenes of the night" in warning for warning in result.warnings)
        assert result.predictions == [] and result.verdict == "no drift"


def test_the_gauge_is_prometheus_text_of_the_latest_night(world) -> None:
    world.add_towns(range(6), labelled=True)
    new = world.add_towns(range(10, 13), labelled=False)
    result = night_of(world, new, "2026-03-02")
    path = world.workspace.drift("town") / "metrics.prom"
    text = path.read_text()
    assert text == gauge_text("town", result)
    assert 'satseg_drift_drifted{project="town"} 0\n' in text
    assert re.search(r'satseg_drift_distance\{project="town",feature="mean_red",kind="radiometric"\} 0\.\d+', text)
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+\{(\w+="[^"]*",?)+\} [-+.e\d]+', line), line
    night_of(world, new, "2026-03-01")  # an older night, tested again
    assert path.read_text() == text
