"""One training while Redis, PostgreSQL and its worker's main process are killed and its successor is drained.

The visibility timeout is 3 s here: a broker that delivers anything again does so within every single stage.
"""

import signal
from typing import Any

import httpx
import pytest
from celery_airflow import NOT_FOR_WORKERS, CeleryAirflow
from celery_witness import (
    RUN_WITHIN_S,
    assert_nothing_ran_twice,
    assert_queues_kept,
    wait_for_epoch,
    wait_for_run,
    wait_for_task,
)
from services import missing, wait_for

from satseg_airflow.demo.plan import synthetic_plan
from satseg_airflow.demo.sources import make_scenes

pytestmark = [
    pytest.mark.celery,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(bool(missing("celery")), reason=f"needs {', '.join(missing('celery'))}"),
]
EPOCHS = 14  # so many that it is not done before its end is noticed


@pytest.fixture(scope="module")
def patches(airflow: CeleryAirflow) -> None:
    """Ingest scenes; the patch set follows by itself."""
    home = airflow.home
    arrival = synthetic_plan(home.workspace, "tiny", count=4, size_px=384, projects_dir=home.projects_dir).first
    make_scenes(arrival, home.environment(airflow.ports))
    with airflow.api() as api:
        wait_for(lambda: "tiny.scene_ingestion" in api.dag_ids("tiny"), "the DAGs", RUN_WITHIN_S)
        for name in ("scene_ingestion", "patch_generation", "model_training"):
            api.pause(f"tiny.{name}", paused=False)
        api.trigger("tiny.scene_ingestion", "test", {"source": str(arrival.folder)})
        wait_for_run(api, "tiny.scene_ingestion", "test")

        def patching() -> list[str]:
            return [run for dag, run in api.runs_started_by("tiny.scene_ingestion", "test") if "patch" in dag]

        wait_for(lambda: bool(patching()), "patch_generation starts", RUN_WITHIN_S)
        wait_for_run(api, "tiny.patch_generation", patching()[0])


@pytest.fixture(scope="module")
def tasks(airflow: CeleryAirflow, patches: None) -> dict[str, dict[str, Any]]:
    """The tasks of the disturbed run, each with its result."""
    dag, run = "tiny.model_training", "test"
    with airflow.api() as api:
        api.trigger(dag, run, {"epochs": EPOCHS})
        wait_for_epoch(airflow, 1)
        airflow.home.redis.restart(pause_s=5)
        wait_for_epoch(airflow, 3)
        airflow.home.postgres.restart(pause_s=5)
        wait_for_epoch(airflow, 5)
        main = airflow.worker("gpu")
        assert main is not None
        main.kill()
        wait_for_task(api, dag, run, "evaluate", "running")
        successor = airflow.worker("gpu")
        assert successor is not None
        airflow.keep_down("worker-gpu")
        successor.send_signal(signal.SIGTERM)
        wait_for_run(api, dag, run)
        wait_for(lambda: airflow.worker("gpu") is None, "the drained worker leaves", RUN_WITHIN_S)
        return {
            task["task_id"]: task | {"result": api.result(dag, run, task["task_id"])} for task in api.tasks(dag, run)
        }


def test_the_training_went_on_where_the_killed_worker_had_left_it(tasks: dict[str, dict[str, Any]]) -> None:
    result = tasks["train"]["result"]
    assert (tasks["train"]["try_number"], result["epochs"], result["resumed"]) == (2, EPOCHS, True)


def test_the_drained_worker_ended_its_task_before_it_left(tasks: dict[str, dict[str, Any]]) -> None:
    assert (tasks["evaluate"]["state"], tasks["evaluate"]["try_number"]) == ("success", 1)


def test_every_other_task_of_the_run_needed_one_try(tasks: dict[str, dict[str, Any]]) -> None:
    assert {name: task["try_number"] for name, task in tasks.items()} == dict.fromkeys(tasks, 1) | {"train": 2}


def test_nothing_was_delivered_or_run_twice(tasks: dict[str, dict[str, Any]], airflow: CeleryAirflow) -> None:
    assert_nothing_ran_twice(airflow, least=12)
    assert_queues_kept(airflow)


def test_workers_hold_none_of_the_orchestrators_secrets(airflow: CeleryAirflow) -> None:
    worker = airflow.worker("default")
    assert worker is not None
    assert set(worker.environ()) & set(NOT_FOR_WORKERS) == set()
    assert airflow.home.postgres.passwords["airflow"] not in "\n".join(worker.environ().values())


def test_the_login_is_fabs_and_refuses_a_wrong_password(airflow: CeleryAirflow) -> None:
    login = {"username": "admin", "password": "admin"}
    answer = httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False, timeout=60)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    answer = httpx.get(f"{airflow.url}/api/v2/dags", trust_env=False, timeout=60)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
