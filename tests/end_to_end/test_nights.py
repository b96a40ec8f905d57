"""Simulated nights through a real scheduler, backfilled, while its parts are killed (`kill -9`) on the way.

Twice the towns look otherwise for some nights. Each time one retraining has to start, on the night that confirms it;
the first waits for annotators, the second finds labels. Scenes and network are tiny; everything else is real.
`-k short` lives ten nights, `-k whole` thirty.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_nights import CRON, SHORT, WHOLE, Month, annotate, labels_arrive, night_arrives, reference_arrives

from satseg.config.project import load_project
from satseg.config.settings import settings
from satseg.drift import nights as reports_of
from satseg.drift.episode import Episode, read_history
from satseg.selection.record import read_selection
from satseg.stages import DriftResult
from satseg.storage.atomic import TEMP_PREFIX
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version, versions
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.demo.watch import Watch
from satseg_airflow.embedded.airflow import EmbeddedAirflow, running_airflow
from satseg_airflow.embedded.environment import Home

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(6 * 3600)]

PROJECT = f"""
name: tiny
classes: [building]
gsd_m: 0.15
patches: {{size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}}
training: {{backbone: mobilenet, epochs: 1, steps_per_epoch: 2, batch_size: 2}}
retraining: {{epochs: 1, ask_windows: 3}}
promotion: {{min_iou: 0.0, max_iou_loss: 1.0, margin_over_all_positive: -1.0}}
inference: {{window_px: 128}}
drift: {{patch_px: 64, permutations: 299, predictions: false, alert: false, cooldown_nights: 1,
        quiet_nights: %d}}
schedule: {{drift: "{CRON}"}}
"""
DETECTION, RETRAINING = "tiny.drift_detection", "tiny.model_retraining"
WITHIN_S = 3600.0


class Life:
    """The workspace, its Airflow, and what happens to them during the nights."""

    def __init__(self, month: Month, home: Home, airflow: EmbeddedAirflow) -> None:
        self.month, self.home, self.airflow = month, home, airflow
        # the second drifted night of each change confirms it: 2 of 3
        self.first, self.second = month.night(month.haze[0] + 1), month.night(month.blur[0] + 1)
        self.watch = Watch(airflow, "tiny", LineScreen(), WITHIN_S)
        self.api = self.watch.api
        self.killed: list[tuple[str, str]] = []

    def until(self, done: Callable[[], Any], what: str) -> None:
        self.watch.wait(lambda: bool(done()), WITHIN_S, lambda: f"{what} did not happen within {WITHIN_S:.0f} s")

    def tested(self, number: int) -> bool:
        return self.month.night(number) in reports_of.tested_nights(self.home.workspace, "tiny")

    def reports(self) -> dict[str, DriftResult]:
        return {night: reports_of.read_report(self.home.workspace, "tiny", night) for night in self.month.nights}

    def task(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        if self.api.run(dag_id, run_id) is None:
            return None
        return next((task["state"] for task in self.api.tasks(dag_id, run_id) if task["task_id"] == task_id), None)

    def kill(self, name: str, while_: str) -> None:
        """Kill a component with -9 and start it again."""
        component = next(one for one in self.airflow.started if one.name == name)
        process = component.process()
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        self.killed.append((name, while_))
        time.sleep(3)
        self.airflow.restart(name)

    def episodes(self) -> list[Episode]:
        return read_history(self.home.workspace, "tiny").episodes


def retraining_of(night: str) -> str:
    return f"drift__tiny__{night}"


@pytest.fixture(scope="module", params=[pytest.param(SHORT, id="short"), pytest.param(WHOLE, id="whole")])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """The nights when they are over, their Airflow still running."""
    month, folder = request.param, tmp_path_factory.mktemp("nights")
    (folder / "projects").mkdir()
    (folder / "projects" / "tiny.yaml").write_text(PROJECT % month.count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SATSEG_WORKSPACE", str(folder / "workspace"))
        settings.cache_clear()
        home = Home(Workspace(folder / "workspace"), folder / "projects")
        project, made = load_project("tiny", home.projects_dir), folder / "made"
        reference_arrives(home.workspace, project, made, month)
        for number in range(1, month.count + 1):
            night_arrives(home.workspace, project, made, month, number)
        with running_airflow(home, print) as airflow:
            lived = Life(month, home, airflow)
            try:
                _first_champion(lived)
                _nights(lived, made)
                yield lived
            finally:
                lived.watch.close()
    settings.cache_clear()


def _first_champion(life: Life) -> None:
    life.until(lambda: DETECTION in life.api.dag_ids("tiny"), "the parsing of the DAGs")
    for name in ("patch_generation", "model_training", "model_promotion", "model_retraining"):
        life.api.pause(f"tiny.{name}", paused=False)
    life.api.trigger("tiny.patch_generation", "first", {"dataset_version": "v1"})
    life.watch.finish("tiny.patch_generation", "first")
    life.api.trigger("tiny.model_training", "first", {})
    life.watch.finish("tiny.model_training", "first")
    life.until(lambda: alias_version(life.home.workspace, "tiny", "champion") == "1", "the first promotion")


def _nights(life: Life, made: Path) -> None:
    month, project = life.month, load_project("tiny", life.home.projects_dir)
    # made while the DAG is paused: otherwise the newest night would be scheduled, and run, first
    backfill = life.api.backfill(DETECTION, f"{month.night(1)}T02:00:00Z", f"{month.night(month.count)}T02:00:00Z")
    life.api.pause(DETECTION, paused=False)
    life.until(lambda: life.tested(month.haze[0] - 3), "the first nights")
    life.kill("scheduler", "a quiet night")
    life.until(life.episodes, "the first episode")
    life.kill("scheduler", "between the episode and its retraining")
    run = retraining_of(life.first)
    life.until(lambda: life.task(RETRAINING, run, "wait_for_labels") == "deferred", "the wait for annotators")
    life.kill("triggerer", "annotators are awaited")
    life.until(lambda: life.tested(month.haze[1] + 1), "the end of the haze while the episode is open")
    life.api.pause_backfill(backfill, paused=True)
    life.kill("scheduler", "annotators are awaited")
    assert annotate(life.home.workspace.selection("tiny", f"drift-{life.first}"), made) == 3
    life.watch.finish(RETRAINING, run)
    life.until(lambda: not life.episodes()[0].open, "the promotion")
    labels_arrive(life.home.workspace, project, made, month.blur)
    life.api.pause_backfill(backfill, paused=False)
    run = retraining_of(life.second)
    life.until(lambda: life.task(RETRAINING, run, "train") in {"running", "success"}, "the second training")
    life.kill("scheduler", "the second training")
    life.kill("triggerer", "the second training")
    life.watch.finish(RETRAINING, run)
    life.until(lambda: life.tested(month.count) and not life.episodes()[-1].open, "the last night")
    life.until(lambda: all(one["state"] == "success" for one in life.api.runs(DETECTION)), "the end of all nights")


def test_every_night_was_tested_once_and_in_order(life: Life) -> None:
    runs = life.api.runs(DETECTION)
    assert sorted(run["logical_date"][:10] for run in runs) == life.month.nights
    assert {(run["state"], run["run_type"]) for run in runs} == {("success", "backfill")}
    assert reports_of.tested_nights(life.home.workspace, "tiny") == life.month.nights
    ends = [run["end_date"] for run in sorted(runs, key=lambda run: run["logical_date"])]
    assert ends == sorted(ends)


def test_exactly_the_expected_retrainings_ran_none_twice_none_lost(life: Life) -> None:
    runs = life.api.runs(RETRAINING)
    assert [run["dag_run_id"] for run in runs] == [retraining_of(life.first), retraining_of(life.second)]
    assert [run["state"] for run in runs] == ["success", "success"]
    assert [(episode.night, episode.open) for episode in life.episodes()] == [(life.first, False), (life.second, False)]
    assert [version.version for version in versions(life.home.workspace, "tiny")] == ["1", "2", "3"]
    assert alias_version(life.home.workspace, "tiny", "champion") == "3"


def test_promoted_models_reset_the_reference(life: Life) -> None:
    reports, closed = life.reports(), life.episodes()[0].closed_night or ""
    assert {report.champion for night, report in reports.items() if night <= life.first} == {"v1"}
    assert {report.champion for night, report in reports.items() if closed < night <= life.second} == {"v2"}
    assert reports[life.second].reference_version != reports[life.first].reference_version
    drifted = {night for night, report in reports.items() if report.drifted}
    assert {
        life.month.night(life.month.haze[0]),
        life.first,
        life.month.night(life.month.blur[0]),
        life.second,
    } <= drifted


def test_first_retraining_waited_for_annotators_and_learned_from_their_windows(life: Life) -> None:
    run = retraining_of(life.first)
    tasks = {task["task_id"]: task["state"] for task in life.api.tasks(RETRAINING, run)}
    assert {tasks[name] for name in ("select_windows", "wait_for_labels", "ingest_labels", "train")} == {"success"}
    selection = read_selection(life.home.workspace.selection("tiny", f"drift-{life.first}"))
    assert selection is not None
    learned = life.api.result(RETRAINING, run, "ingest_labels")
    assert set(learned["new_scenes"]) == {window.name for window in selection.windows}
    assert len(life.api.result(RETRAINING, run, "count_labels")["candidates"]) == 2 * life.month.count


def test_second_retraining_found_its_labels(life: Life) -> None:
    run = retraining_of(life.second)
    tasks = {task["task_id"]: task["state"] for task in life.api.tasks(RETRAINING, run)}
    assert {tasks[name] for name in ("select_windows", "wait_for_labels", "ingest_labels")} == {"skipped"}
    first, last = life.month.blur
    assert len(life.api.result(RETRAINING, run, "count_labels")["new_scenes"]) == 2 * (last - first + 1)


def test_cards_tell_the_nights_of_their_models(life: Life) -> None:
    _, *again = versions(life.home.workspace, "tiny")
    for version, night in zip(again, (life.first, life.second), strict=True):
        assert re.search(rf"\*\*Trained again\*\* because .*drift.* on night {night}", version.description)
        assert version.tags["satseg.drift_night"] == night


def test_windows_of_annotators_are_no_new_scenes_of_a_night(life: Life) -> None:
    found = [sorted(report.scenes) for report in life.reports().values()]
    assert found == [[f"n{n:02d}_0", f"n{n:02d}_1"] for n in range(1, life.month.count + 1)]


def test_nothing_is_half_written_after_all_those_kills(life: Life) -> None:
    assert [name for name, _ in life.killed] == [
        "scheduler", "scheduler", "triggerer", "scheduler", "scheduler", "triggerer",
    ]  # fmt: skip
    files = life.home.workspace.root.rglob(f"{TEMP_PREFIX}*")
    assert [path for path in files if "airflow" not in path.parts] == []
