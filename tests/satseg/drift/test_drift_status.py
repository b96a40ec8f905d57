import pytest

from satseg.drift import episode, status
from satseg.drift.reference import Champion
from satseg.errors import ConfigurationError, NotFoundError
from satseg.stages import DriftEpisodeSpec, DriftStatusResult, DriftStatusSpec


def asked(world, night: str) -> DriftStatusResult:
    return status.run(DriftStatusSpec(project=world.project, night=night), world.workspace)


def act(world, action: str, night: str | None = None, reason: str = ""):
    spec = DriftEpisodeSpec(project=world.project, night=night, action=action, reason=reason)  # type: ignore[arg-type]
    return episode.run(spec, world.workspace)


def test_drift_is_confirmed_on_the_second_of_three_nights(world, tested) -> None:
    tested("2026-03-01")
    assert not asked(world, "2026-03-01").confirmed
    tested("2026-03-02", "no drift")
    assert not asked(world, "2026-03-02").confirmed
    tested("2026-03-03")
    third = asked(world, "2026-03-03")
    assert (third.confirmed, third.trigger) == (True, True)
    assert third.nights == {"2026-03-01": True, "2026-03-02": False, "2026-03-03": True}
    assert "2 of 3 nights" in third.reason


def test_a_night_too_long_ago_does_not_confirm(world, tested) -> None:
    for night, verdict in (("01", "drift"), ("02", "no drift"), ("03", "no drift"), ("04", "drift")):
        tested(f"2026-03-{night}", verdict)
    answer = asked(world, "2026-03-04")
    assert not answer.confirmed
    assert "1 of the latest 3" in answer.reason


def test_a_quiet_night_never_triggers_even_after_drifted_ones(world, tested) -> None:
    tested("2026-03-01")
    tested("2026-03-02")
    tested("2026-03-03", "no drift")
    answer = asked(world, "2026-03-03")
    assert (answer.confirmed, answer.trigger) == (False, False)
    assert "'no drift'" in answer.reason


@pytest.mark.parametrize("verdict", ["no new scenes", "not enough reference"])
def test_nights_that_say_nothing_are_passed_over(world, tested, verdict: str) -> None:
    tested("2026-03-01")
    for day in range(2, 7):
        tested(f"2026-03-0{day}", verdict)
    empty = asked(world, "2026-03-06")
    assert not empty.confirmed
    assert empty.nights == {"2026-03-01": True, "2026-03-06": False}  # the night asked for is always there
    tested("2026-03-07")
    answer = asked(world, "2026-03-07")
    assert answer.trigger
    assert list(answer.nights) == ["2026-03-01", "2026-03-07"]


def test_later_nights_do_not_count(world, tested) -> None:
    tested("2026-03-01")
    tested("2026-03-02")
    assert not asked(world, "2026-03-01").confirmed


def test_a_new_champion_resets_the_count(world, tested) -> None:
    tested("2026-03-01", champion="v1")
    tested("2026-03-02", champion="v2")
    world.champion = Champion("v2", "v2")
    answer = asked(world, "2026-03-02")
    assert not answer.confirmed
    assert list(answer.nights) == ["2026-03-02"]


def test_nights_tested_against_a_replaced_champion_do_not_trigger(world, tested) -> None:
    tested("2026-03-01")
    tested("2026-03-02")
    world.champion = Champion("v2", "v2")
    answer = asked(world, "2026-03-02")
    assert (answer.confirmed, answer.trigger) == (False, False)
    assert "champion is now v2" in answer.reason


def test_an_open_episode_forbids_another_retraining(world, tested) -> None:
    tested("2026-03-01")
    tested("2026-03-02")
    act(world, "open", "2026-03-02", "2 of 3 nights")
    tested("2026-03-03")
    answer = asked(world, "2026-03-03")
    assert (answer.confirmed, answer.trigger) == (True, False)
    assert "2026-03-02 is still open" in answer.reason


def test_own_episode_of_a_night_does_not_forbid_its_retraining(world, tested) -> None:
    """Killed between opening the episode and starting the retraining, a cleared run must not lose it."""
    tested("2026-03-01")
    tested("2026-03-02")
    assert asked(world, "2026-03-02").trigger
    act(world, "open", "2026-03-02", "2 of 3 nights")
    assert asked(world, "2026-03-02").trigger
    act(world, "close", reason="v2 was promoted")
    assert not asked(world, "2026-03-02").confirmed


def test_own_episode_counts_also_within_the_cool_down_of_the_one_before(world, tested) -> None:
    act(world, "open", "2026-03-01")
    act(world, "close")
    for day in (2, 3, 4, 5):
        tested(f"2026-03-0{day}")
    assert asked(world, "2026-03-05").trigger
    act(world, "open", "2026-03-05")
    assert asked(world, "2026-03-05").trigger


def test_after_closing_its_nights_are_used_up_and_a_cool_down_follows(world, tested) -> None:
    for day in (1, 2):
        tested(f"2026-03-0{day}")
    act(world, "open", "2026-03-02")
    tested("2026-03-03")
    act(world, "close", reason="challenger refused")  # the episode ends with the latest tested night
    used = asked(world, "2026-03-03")
    assert not used.confirmed and "belongs to a drift episode" in used.reason
    reasons = {}
    for day in range(4, 8):
        tested(f"2026-03-0{day}")
        reasons[day] = asked(world, f"2026-03-0{day}")
    assert not reasons[4].confirmed  # one counted night only
    assert reasons[5].confirmed and not reasons[5].trigger and "cool-down: night 2 of 3" in reasons[5].reason
    assert not reasons[6].trigger
    assert reasons[7].trigger


def test_a_night_that_was_not_tested_is_an_error_that_names_the_tested_ones(world, tested) -> None:
    tested("2026-03-01")
    with pytest.raises(NotFoundError, match=r"2026-03-02 .*latest tested: 2026-03-01.*drift test"):
        asked(world, "2026-03-02")


def test_opening_twice_for_one_night_changes_nothing(world) -> None:
    assert act(world, "open", "2026-03-02", "first").state == "open"
    before = episode.read_history(world.workspace, "town")
    assert act(world, "open", "2026-03-02", "second").state == "open"
    assert episode.read_history(world.workspace, "town") == before


def test_only_one_episode_is_open_at_a_time(world) -> None:
    act(world, "open", "2026-03-02")
    spec = DriftEpisodeSpec(project=world.project, night="2026-03-05", action="open")
    second = episode.run(spec, world.workspace)
    assert (second.night, second.state) == ("2026-03-02", "open")
    assert episode.refused(spec, second)


def test_a_closed_night_is_not_opened_again(world) -> None:
    act(world, "open", "2026-03-02")
    assert act(world, "close", "2026-03-02", "v2 promoted").state == "closed"
    again = act(world, "open", "2026-03-02")
    assert again.state == "closed" and "v2 promoted" in again.message


def test_closing_keeps_the_history_and_twice_changes_nothing(world) -> None:
    assert act(world, "close").state == "none"
    act(world, "open", "2026-03-02", "drift")
    act(world, "close", "2026-03-02", "v2 promoted")
    act(world, "close", "2026-03-02", "again")
    act(world, "open", "2026-03-20")
    first, second = episode.read_history(world.workspace, "town").episodes
    assert (first.reason, first.close_reason, first.closed_night) == ("drift", "v2 promoted", "2026-03-02")
    assert second.open


def test_a_late_close_of_an_old_night_leaves_the_new_episode_open(world) -> None:
    act(world, "open", "2026-03-02")
    act(world, "close")
    act(world, "open", "2026-03-09")
    spec = DriftEpisodeSpec(project=world.project, night="2026-03-02", action="close")
    late = episode.run(spec, world.workspace)
    assert (late.night, late.state) == ("2026-03-09", "open")
    assert episode.refused(spec, late)


def test_opening_needs_a_night(world) -> None:
    with pytest.raises(ConfigurationError, match="--night"):
        act(world, "open")
