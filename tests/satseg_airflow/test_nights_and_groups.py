"""Which night a run is about, and how scenes are dealt out to mapped tasks."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.types import DagRunType

from satseg.cli.app import main
from satseg.config.settings import settings
from satseg_airflow.dag_params import drift
from satseg_airflow.embedded.environment import ROOT
from satseg_airflow.nights import ingested_since, ingested_until, night
from satseg_airflow.tasks import MOST_MAPPED_TASKS, grouped

START, END = datetime(2026, 3, 1, 2, tzinfo=UTC), datetime(2026, 3, 2, 2, tzinfo=UTC)


def run(run_type: str, **params: Any) -> dict[str, Any]:
    empty = {"night": None, "dataset_version": None, "since": None, "until": None}
    context = {"dag_run": SimpleNamespace(run_type=DagRunType(run_type), run_after=END), "params": empty | params}
    if run_type == "scheduled":
        context |= {"data_interval_start": START, "data_interval_end": END}
    return context


def test_scheduled_run_is_about_the_interval_it_closes() -> None:
    context = run("scheduled")
    assert night(context) == "2026-03-01"
    assert (ingested_since(context), ingested_until(context)) == (START.isoformat(), END.isoformat())


def test_manual_run_without_a_choice_takes_the_last_day() -> None:
    context = run("manual")
    assert night(context) == "2026-03-02"
    assert (ingested_since(context), ingested_until(context)) == ("2026-03-01T02:00:00+00:00", "")


def test_dataset_version_is_not_narrowed_by_a_time() -> None:
    context = run("manual", night="2026-02-11", dataset_version="v4")
    assert (night(context), ingested_since(context), ingested_until(context)) == ("2026-02-11", "", "")


def test_form_wins_over_the_schedule() -> None:
    context = run("scheduled", night="2026-02-11", since="2026-02-11T00:00:00Z", until="2026-02-12T00:00:00Z")
    assert night(context) == "2026-02-11"
    assert ingested_since(context) == "2026-02-11T00:00:00Z"
    assert ingested_until(context) == "2026-02-12T00:00:00Z"


@pytest.mark.parametrize(("count", "size", "groups"), [(0, 4, 0), (1, 4, 1), (9, 4, 3), (5, 1, 5), (5000, 1, 1000)])
def test_groups_hold_every_scene_once_and_are_never_too_many(count: int, size: int, groups: int) -> None:
    scenes = [f"scene{number}" for number in range(count)]
    dealt = grouped(scenes, size)
    assert [scene for group in dealt for scene in group] == scenes
    assert len(dealt) == groups <= MOST_MAPPED_TASKS


@pytest.mark.parametrize(
    "time", ["2026-03-31", "2026-03-31T02:00", "2026-03-31T02:00:00Z", "2026-03-31T02:00:00.123Z", START.isoformat()]
)
def test_a_time_that_the_form_takes_is_one_that_the_command_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], time: str
) -> None:
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(ROOT / "include" / "projects"))
    settings.cache_clear()
    assert drift()["since"].resolve(time) == time
    assert main(["datasets", "scenes", "--project", "buildings", "--since", time, "--until", time]) == 0, (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("field", ["since", "until", "night"])
@pytest.mark.parametrize("wrong", ["hello", "31.03.2026"])
def test_the_form_refuses_what_is_no_time(field: str, wrong: str) -> None:
    with pytest.raises(ParamValidationError, match=f"'{wrong}'"):
        drift()[field].resolve(wrong)
