"""The loop of tests/end_to_end on Celery workers; in its first training the gpu worker is lost with all it runs."""

import os
import threading
from pathlib import Path

import pytest
from celery_airflow import CeleryAirflow
from celery_witness import RUN_WITHIN_S, assert_nothing_ran_twice, assert_queues_kept, kill_tree, wait_for_epoch
from services import missing
from statsd_listener import StatsdListener

from satseg_airflow.demo.chain import Demo, Outcome
from satseg_airflow.demo.plan import synthetic_plan
from satseg_airflow.demo.screen import LineScreen

pytestmark = [
    pytest.mark.celery,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(bool(missing("celery")), reason=f"needs {', '.join(missing('celery'))}"),
]


class WorkerKiller(threading.Thread):
    """Kills the gpu worker and all it runs, once, when the first training has done an epoch."""

    def __init__(self, airflow: CeleryAirflow) -> None:
        super().__init__(daemon=True)
        self.airflow = airflow
        self.killed: list[str] = []

    def run(self) -> None:
        wait_for_epoch(self.airflow, 1)
        self.killed = kill_tree(self.airflow.worker("gpu"))


@pytest.fixture(scope="module")
def killer(airflow: CeleryAirflow) -> WorkerKiller:
    return WorkerKiller(airflow)


@pytest.fixture(scope="module")
def loop(airflow: CeleryAirflow, killer: WorkerKiller) -> Outcome:
    killer.start()
    where = airflow.home
    size = {"count": 4, "size_px": 384}
    plan = synthetic_plan(
        where.workspace, "tiny", projects_dir=where.projects_dir, training={}, run_timeout_s=RUN_WITHIN_S, **size
    )
    return Demo(plan, airflow, LineScreen()).run()


def test_the_loop_goes_round_though_the_gpu_worker_is_lost_in_the_first_training(
    loop: Outcome, airflow: CeleryAirflow, killer: WorkerKiller
) -> None:
    assert (loop.quiet["verdict"], loop.drifted["verdict"]) == ("no drift", "drift")
    assert loop.challenger["version"] == "2"
    assert loop.challenger["decision"] in {"promoted", "refused"}
    assert any(" train " in command for command in killer.killed)
    assert "worker-gpu" in airflow.restarts
    assert (loop.train["epochs"], loop.train["resumed"]) == (3, True)
    tries = sorted(airflow.home.folder.glob("logs/tasks/dag_id=tiny.model_training/**/task_id=train/attempt=*.log"))
    assert [path.stem for path in tries] == ["attempt=1", "attempt=2"]


def test_only_the_killed_training_was_tried_again_and_every_run_ended_well(
    loop: Outcome, airflow: CeleryAirflow
) -> None:
    retried = airflow.home.postgres.query(
        "SELECT dag_id, run_id, task_id, try_number FROM task_instance WHERE try_number > 1 AND state <> 'skipped'"
    )
    assert retried == [["tiny.model_training", "demo__first", "train", "2"]]
    assert airflow.home.postgres.query("SELECT DISTINCT state FROM dag_run") == [["success"]]


def test_nothing_was_delivered_or_run_twice(loop: Outcome, airflow: CeleryAirflow) -> None:
    assert_nothing_ran_twice(airflow, least=60)
    assert_queues_kept(airflow)


def test_airflow_emits_the_figures_that_the_dashboards_expect(loop: Outcome, statsd: StatsdListener) -> None:
    if listing := os.environ.get("AIRFLOW_METRICS_LISTING"):
        Path(listing).write_text("\n".join(sorted(statsd.seen)) + "\n")
    expected = (Path(__file__).parent / "airflow_metrics.txt").read_text().split()
    labels = {name.partition(",")[0]: set(name.split(",")[2:]) for name in statsd.seen}
    assert set(expected) - set(labels) == set()
    assert labels["airflow.ti.finish"] >= {"dag_id", "task_id", "state"}
    assert labels["airflow.pool.running_slots"] == {"pool_name"}
