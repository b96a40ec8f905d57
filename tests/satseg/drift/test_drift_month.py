"""Nights one after the other, by the real stages; tests/end_to_end/test_nights.py lives them through Airflow."""

import numpy as np
import pytest

from satseg.drift import compare, episode, profile, status
from satseg.drift.reference import Champion
from satseg.stages import DriftEpisodeSpec, DriftProfileSpec, DriftStatusSpec, DriftTestSpec

HAZY_NIGHTS = (5, 6, 7)


def haze(pixels: np.ndarray) -> np.ndarray:
    return 0.6 * pixels + 90


@pytest.mark.slow
def test_a_change_starts_one_retraining_and_its_champion_takes_the_change_for_normal(world) -> None:
    project, workspace = world.project, world.workspace
    world.add_towns(range(12), labelled=True)
    started = []
    for number in range(1, 13):
        night, change = f"2026-03-{number:02d}", haze if number in HAZY_NIGHTS else None
        scenes = world.add_towns(range(100 * number, 100 * number + 2), labelled=False, change=change)
        profile.run(DriftProfileSpec(project=project, night=night, scenes=scenes), workspace)
        compare.run(DriftTestSpec(project=project, night=night), workspace)
        for _ in range(2):  # a task that was killed after it had asked asks again
            if status.run(DriftStatusSpec(project=project, night=night), workspace).trigger:
                opened = episode.run(DriftEpisodeSpec(project=project, night=night, action="open"), workspace)
                assert (opened.night, opened.state) == (night, "open")
                started.append(number)
        if number == HAZY_NIGHTS[-1]:  # the retrained model is promoted, and knows what drifted
            world.versions["v3"] = world.versions["v1"] + [
                record.__class__(**{**record.__dict__, "labelled": True})
                for record in world.versions["v2"][-2 * len(HAZY_NIGHTS) :]
            ]
            world.champion = Champion("v2", "v3")
            episode.run(DriftEpisodeSpec(project=project, action="close", reason="v2 was promoted"), workspace)
    assert started == [HAZY_NIGHTS[1]] * 2  # asked twice, for one night: its retraining's name is the night
    history = episode.read_history(workspace, project.name)
    assert [(one.night, one.closed_night) for one in history.episodes] == [("2026-03-06", "2026-03-07")]
