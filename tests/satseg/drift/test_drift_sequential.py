import numpy as np
import pandas as pd
import pytest

from satseg.config.drift import DriftConfig
from satseg.drift.decision import decide
from satseg.drift.sequential import confirmation_chance, night_level


def thrown(level: float, nights: int, k: int, n: int, repetitions: int) -> float:
    """Simulate: a confirmed alarm is an alarm with k - 1 others in the n - 1 nights before."""
    alarms = np.random.default_rng(0).random((repetitions, nights)) < level
    counts = np.cumsum(np.pad(alarms, ((0, 0), (n, 0))), axis=1)
    window = counts[:, n:] - counts[:, :-n]
    return float(((window >= k) & alarms).any(axis=1).mean())


@pytest.mark.parametrize(
    ("level", "nights", "k", "n"), [(0.03, 30, 2, 3), (0.05, 30, 1, 1), (0.2, 12, 3, 5), (0.1, 7, 2, 10)]
)
def test_the_chance_of_a_confirmed_alarm_is_that_of_thrown_coins(level: float, nights: int, k: int, n: int) -> None:
    exact = confirmation_chance(level, nights, k, n)
    assert exact == pytest.approx(thrown(level, nights, k, n, 20_000), abs=4 * np.sqrt(0.25 / 20_000))


def test_one_of_one_is_the_chance_of_any_alarm() -> None:
    assert confirmation_chance(0.01, 30, 1, 1) == pytest.approx(1 - 0.99**30)


def test_long_windows_are_bounded_from_above() -> None:
    assert confirmation_chance(0.02, 60, 3, 20) >= thrown(0.02, 60, 3, 20, 5_000)


@pytest.mark.parametrize(("nights", "k", "n"), [(30, 2, 3), (30, 1, 1), (365, 2, 3), (30, 3, 20)])
def test_the_level_uses_the_rate_up_and_never_more(nights: int, k: int, n: int) -> None:
    level = night_level(0.05, nights, k, n)
    assert confirmation_chance(level, nights, k, n) == pytest.approx(0.05, rel=1e-3)
    assert confirmation_chance(level, nights, k, n) <= 0.05


def test_the_level_never_exceeds_the_rate_of_a_single_night() -> None:
    assert night_level(0.05, 1, 1, 1) == 0.05
    assert night_level(0.05, 2, 2, 3) == 0.05


@pytest.mark.slow
def test_an_unlucky_reference_does_not_alarm_night_after_night() -> None:
    """Quiet months on 12 reference scenes: with earlier nights in the null, their alarms are unrelated.

    Against the bare reference alone, they come together; the confirmation rule then fails more often than computed.
    """
    features, months, nights = ("a", "b"), 60, 8
    config, level = DriftConfig(permutations=99), 0.1
    joint = []
    for month in range(months):
        rng = np.random.default_rng(month)

        def scenes(count: int, name: str, rng: np.random.Generator = rng) -> pd.DataFrame:
            centres = rng.normal(size=(count, 2)).repeat(6, axis=0)
            frame = pd.DataFrame(centres + 0.3 * rng.normal(size=centres.shape), columns=features)
            return frame.assign(scene=np.repeat([f"{name}{i}" for i in range(count)], 6), block="0_0")

        reference, earlier, alarms = scenes(12, "r"), None, []
        for night in range(nights):
            new = scenes(2, f"n{night}_")
            alarms.append(decide(reference, new, features, config, level, rng, earlier).drifted)
            earlier = new if earlier is None else pd.concat([earlier, new], ignore_index=True)
        joint.append(alarms)
    found = np.array(joint)
    each, pairs = found.mean(), (found[:, 1:] & found[:, :-1]).mean()
    assert each <= level + 3 * np.sqrt(level * (1 - level) / found.size)
    assert pairs <= level**2 + 3 * np.sqrt(level**2 / (found.size - months))
