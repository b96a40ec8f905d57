"""The sensor between a request for labels and the retraining: it waits in the triggerer, for days if need be."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from satseg_airflow.sensors.labels import LabelSensor
from satseg_airflow.triggers import labels
from satseg_airflow.triggers.labels import LabelTrigger

NAME = "drift-2026-03-01"
# what `satseg select --collect` answers: the files are as the test leaves them
COLLECT = """
folder = Path(os.environ["SATSEG_WORKSPACE"]) / "selections" / "buildings" / sys.argv[3]
done = {p.stem: json.loads(p.read_text())["flags"]["checked"] for p in sorted(folder.glob("*.json"))}
with open(os.environ["ASKED"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
print(json.dumps({"message": "so many", "windows": list(done), "waiting": [n for n, ok in done.items() if not ok]}))
sys.exit(0 if any(done.values()) else 4)
"""


@pytest.fixture
def windows(workspace: Path, fake_satseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what ticks windows of a selection of two."""
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setattr(labels, "LEAST_WAIT_S", 0.05)
    fake_satseg(COLLECT)
    folder = workspace / "selections" / "buildings" / NAME
    folder.mkdir(parents=True)

    def tick(checked: int) -> None:
        for number in range(2):
            (folder / f"w{number}.json").write_text(json.dumps({"flags": {"checked": number < checked}}))

    tick(0)
    return tick


def sensor() -> LabelSensor:
    return LabelSensor(task_id="wait", project="buildings", request=NAME, wait_days=2.0, poke_interval=60)


def trigger(until: timedelta) -> LabelTrigger:
    return LabelTrigger("buildings", NAME, (datetime.now(UTC) + until).isoformat(), poke_interval=0.05)


def event(waits: LabelTrigger, within_s: float = 20.0) -> dict[str, Any]:
    async def first() -> Any:
        return await asyncio.wait_for(anext(waits.run()), within_s)

    payload: dict[str, Any] = asyncio.run(first()).payload
    return payload


def test_unlabelled_windows_are_waited_for_in_the_triggerer(windows) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor().execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert path == "satseg_airflow.triggers.labels.LabelTrigger"
    assert (arguments["project"], arguments["request"], arguments["poke_interval"]) == ("buildings", NAME, 60)
    left = datetime.fromisoformat(arguments["until"]) - datetime.now(UTC)
    assert timedelta(days=1.9) < left <= timedelta(days=2)
    assert deferred.value.timeout is None  # the trigger ends the wait itself: what is labelled by then has to do


def test_windows_that_are_all_labelled_need_no_waiting(windows, tmp_path) -> None:
    windows(2)
    assert sensor().execute({})["waiting"] == []
    assert (tmp_path / "asked").read_text() == f"select --collect {NAME} --project buildings --json\n"


def test_trigger_fires_once_all_are_ticked(windows) -> None:
    async def ticking() -> Any:
        waiting = asyncio.ensure_future(anext(trigger(timedelta(hours=1)).run()))
        for checked in (1, 2):
            await asyncio.sleep(1.5)
            assert not waiting.done()
            await asyncio.to_thread(windows, checked)
        return await asyncio.wait_for(waiting, 20)

    answer = asyncio.run(ticking()).payload
    assert sensor().execute_complete({}, answer)["windows"] == ["w0", "w1"]


def test_nobody_is_asked_while_no_file_changes(windows, tmp_path) -> None:
    with pytest.raises(TimeoutError):
        event(trigger(timedelta(hours=1)), within_s=3)
    assert len((tmp_path / "asked").read_text().splitlines()) <= 1


def test_when_the_time_is_over_what_is_labelled_has_to_do(windows) -> None:
    windows(1)
    status = sensor().execute_complete({}, event(trigger(timedelta(seconds=-1))))
    assert status["waiting"] == ["w1"]


def test_with_nothing_labelled_in_time_the_retraining_fails_and_says_what_to_do(windows) -> None:
    answer = event(trigger(timedelta(seconds=-1)))
    with pytest.raises(AirflowFailException, match=r"Nobody labelled .* within 2 days.*clear this task"):
        sensor().execute_complete({}, answer)


def test_trigger_made_again_from_its_serialized_form_keeps_its_deadline() -> None:
    first = trigger(timedelta(days=1))
    path, arguments = first.serialize()
    assert path.rpartition(".")[2] == LabelTrigger.__name__
    assert LabelTrigger(**arguments).until == first.until
