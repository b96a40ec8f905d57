"""The sensor between drift report and retraining: ask once, wait elsewhere, never fail for want of drift."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from satseg_airflow.sensors.drift import DriftSensor
from satseg_airflow.triggers import drift
from satseg_airflow.triggers.drift import DriftTrigger

NIGHT = "2026-03-01"
CONFIRMED = (
    "dict(night='2026-03-01', confirmed=True, trigger=True, reason='1 of 1 nights', nights={'2026-03-01': True})"
)
QUIET = "dict(night='2026-03-01', confirmed=False, trigger=False, reason='no drift', nights={'2026-03-01': False})"


def sensor(**more: Any) -> DriftSensor:
    return DriftSensor(task_id="drift_sensor", project="buildings", night=NIGHT, timeout=60, **more)


@pytest.fixture
def report(workspace: Path) -> Path:
    path = workspace / "drift" / "buildings" / NIGHT / "report.json"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def says(answer: str) -> str:
    return f"print(json.dumps({answer}))"


def test_confirmed_drift_succeeds_with_the_status(fake_satseg, report) -> None:
    fake_satseg(says(CONFIRMED))
    assert sensor().execute({})["nights"] == {NIGHT: True}


def test_report_without_drift_skips_with_the_reason(fake_satseg, report) -> None:
    fake_satseg(says(QUIET))
    with pytest.raises(AirflowSkipException, match="no drift"):
        sensor().execute({})


def test_question_names_night_and_project(fake_satseg, report, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    fake_satseg("Path(os.environ['ASKED']).write_text(' '.join(sys.argv[1:]));" + says(QUIET))
    with pytest.raises(AirflowSkipException):
        sensor().execute({})
    assert (tmp_path / "asked").read_text() == "drift status --night 2026-03-01 --project buildings --json"


def test_missing_report_defers_with_a_time_out(workspace) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(poke_interval=7).execute({})
    assert deferred.value.timeout.total_seconds() == 60
    path, arguments = deferred.value.trigger.serialize()
    assert path == "satseg_airflow.triggers.drift.DriftTrigger"
    assert arguments == {"project": "buildings", "night": NIGHT, "poke_interval": 7}


@pytest.mark.parametrize(("code", "kind"), [(2, AirflowFailException), (75, AirflowException)])
def test_trouble_with_the_question_fails_with_its_words(fake_satseg, report, code: int, kind: type[Exception]) -> None:
    fake_satseg(f"print('error: no project', file=sys.stderr); sys.exit({code})")
    with pytest.raises(kind, match=f"exit code {code}: no project"):
        sensor().execute({})


def test_trigger_waits_for_the_report_and_then_asks(fake_satseg, report, monkeypatch) -> None:
    monkeypatch.setattr(drift, "LEAST_WAIT_S", 0.3)
    fake_satseg(says(CONFIRMED))
    report.unlink()
    threading.Timer(1.0, report.touch).start()
    begin = time.monotonic()
    event = asyncio.run(anext(DriftTrigger("buildings", NIGHT, poke_interval=0.1).run()))
    assert time.monotonic() - begin >= 1.0
    assert sensor().execute_complete({}, event.payload)["trigger"] is True


def test_first_question_leaves_the_task_time_to_leave_its_worker() -> None:
    assert drift.LEAST_WAIT_S >= 2


def test_trigger_is_made_again_from_its_serialized_form() -> None:
    path, arguments = DriftTrigger("buildings", NIGHT, 5.0).serialize()
    assert path.rpartition(".")[2] == DriftTrigger.__name__
    assert DriftTrigger(**arguments).serialize() == (path, arguments)
