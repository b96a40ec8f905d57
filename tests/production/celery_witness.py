"""What a run on Celery workers left behind: messages, tries, starts of stages, epochs; and how to wait for it."""

import contextlib
import re
import time
from collections import Counter
from pathlib import Path

import psutil
from celery_airflow import WORKERS, CeleryAirflow
from services import wait_for

from satseg_airflow.rest import AirflowApi

RUN_WITHIN_S = 2400.0  # on a machine that others use too


def epochs_done(airflow: CeleryAirflow) -> dict[Path, int]:
    """Return the finished epochs by run folder."""
    found = airflow.home.workspace.root.glob("runs/*/epochs.jsonl")
    return {path: len(path.read_text().splitlines()) for path in found}


def wait_for_epoch(airflow: CeleryAirflow, number: int) -> None:
    """Wait until some training has ended its epoch of this number."""
    reached = f"epoch {number} of a training"
    wait_for(lambda: max(epochs_done(airflow).values(), default=0) >= number, reached, RUN_WITHIN_S)


def wait_for_run(api: AirflowApi, dag_id: str, run_id: str) -> None:
    """Wait until a run has ended well.

    Raises:
        AssertionError: it failed, or did not end in time; names its tasks.
    """
    state = ""

    def ended() -> bool:
        nonlocal state
        state = (api.run(dag_id, run_id) or {}).get("state", "")
        return state in {"success", "failed"}

    wait_for(ended, f"the end of {run_id}", RUN_WITHIN_S)
    tasks = {task["task_id"]: (task["state"], task["try_number"]) for task in api.tasks(dag_id, run_id)}
    assert state == "success", tasks


def wait_for_task(api: AirflowApi, dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Wait until a task is in a state."""

    def reached() -> bool:
        return any(task["task_id"] == task_id and task["state"] == state for task in api.tasks(dag_id, run_id))

    wait_for(reached, f"{task_id} {state}", RUN_WITHIN_S)


def kill_tree(process: psutil.Process | None) -> list[str]:
    """Kill a process and everything below it at once, as when a machine is lost; returns the commands."""
    assert process is not None
    tree = [process, *process.children(recursive=True)]
    commands = [" ".join(one.cmdline()) for one in tree]
    for one in tree:
        with contextlib.suppress(psutil.Error):
            one.kill()
    time.sleep(0.1)
    return commands


def deliveries(airflow: CeleryAirflow) -> Counter[str]:
    """Return how often each message was received by a worker."""
    pattern = r"execute_workload\[([0-9a-f-]{36})\] received"
    return Counter(found for queue in WORKERS for found in re.findall(pattern, airflow.log_of(f"worker-{queue}")))


def stage_starts(airflow: CeleryAirflow) -> dict[Path, int]:
    """Return how often a stage was started, by the log of the try."""
    logs = airflow.home.folder.glob("logs/tasks/**/attempt=*.log")
    return {path: len(re.findall(r"SATSEG_WORKSPACE=\S+ satseg ", path.read_text())) for path in logs}


def assert_nothing_ran_twice(airflow: CeleryAirflow, least: int) -> None:
    """Check messages and starts; there must have been a least number of both."""
    received, starts = deliveries(airflow), stage_starts(airflow)
    assert len(received) >= least
    assert {message for message, times in received.items() if times > 1} == set()
    assert sum(starts.values()) >= least // 3
    assert {str(path): times for path, times in starts.items() if times > 1} == {}


def assert_queues_kept(airflow: CeleryAirflow) -> None:
    """Check that what holds a device ran on the gpu worker, and nothing else there."""
    rows = airflow.home.postgres.query("SELECT DISTINCT queue, pool FROM task_instance WHERE start_date IS NOT NULL")
    assert sorted(rows) == [["default", "default_pool"], ["gpu", "gpu"]]
    for queue in WORKERS:
        took = re.findall(r"Executing workload in Celery: .*? queue='(\w+)'", airflow.log_of(f"worker-{queue}"))
        assert set(took) == {queue}
