"""The loop on CeleryExecutor with Debian's Redis and PostgreSQL while parts of it are killed: `make test-celery`.

Two workers (queues default and gpu) run with the settings of docker/airflow.env. The visibility timeout is 3 s here: a
broker that delivers anything again does so within every single stage. In the first training the gpu worker is lost
with all it runs; in the retraining Redis is killed, then PostgreSQL; in one training more the worker's main process is
killed, and in its evaluation the worker is drained.
"""

import contextlib
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery_airflow import NOT_FOR_WORKERS, CeleryAirflow, CeleryHome
from services import Postgres, Redis, missing_programs, wait_for
from statsd_listener import StatsdListener

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg_airflow.demo.chain import Demo, Outcome
from satseg_airflow.demo.plan import synthetic_plan
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.embedded.processes import marked

pytest.importorskip("airflow.providers.celery", reason="CeleryExecutor is not installed: make venv-production")
pytestmark = [
    pytest.mark.celery,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        bool(missing_programs()), reason=f"not installed: apt-get install {' '.join(missing_programs())}"
    ),
]
RUN_WITHIN_S = 2400.0  # on a machine that others use too
PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: resnet18, epochs: 3, steps_per_epoch: 4, batch_size: 4}
retraining: {epochs: 4}
promotion: {min_iou: 0.0, max_iou_loss: 1.0, margin_over_all_positive: -1.0}
inference: {window_px: 128}
drift: {patch_px: 64, permutations: 299, confirm: {nights: 1, of: 1}, quiet_nights: 1}
"""


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsdListener]:
    listener = StatsdListener()
    listener.start()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, statsd: StatsdListener) -> Iterator[CeleryAirflow]:
    folder = tmp_path_factory.mktemp("celery")
    (folder / "projects").mkdir()
    (folder / "projects" / "tiny.yaml").write_text(PROJECT)
    settings.cache_clear()
    home = CeleryHome(Workspace(folder / "workspace"), folder / "projects", statsd_port=statsd.port)
    airflow = CeleryAirflow(home)
    try:
        airflow.start(LineScreen().say)
        yield airflow
    finally:
        airflow.stop()
        settings.cache_clear()
    assert marked(home.folder) == []


class Disturber(threading.Thread):
    """Kills parts of the running system while the loop trains."""

    def __init__(self, airflow: CeleryAirflow) -> None:
        super().__init__(daemon=True)
        self.airflow = airflow
        self.killed: list[str] = []
        self.epochs_at: dict[str, int] = {}

    def run(self) -> None:
        first = self._new_training(set(), "the first training")
        self.killed = kill_tree(self.airflow.worker("gpu"))
        second = self._new_training({first}, "the retraining")
        self._restart("redis", self.airflow.home.redis, second)
        wait_for(lambda: epochs_done(self.airflow)[second] > self.epochs_at["redis"], "another epoch", RUN_WITHIN_S)
        self._restart("postgresql", self.airflow.home.postgres, second)

    def _new_training(self, known: set[Path], what: str) -> Path:
        wait_for(lambda: bool(set(epochs_done(self.airflow)) - known), f"an epoch of {what}", RUN_WITHIN_S)
        return (set(epochs_done(self.airflow)) - known).pop()

    def _restart(self, name: str, service: Postgres | Redis, training: Path) -> None:
        self.epochs_at[name] = epochs_done(self.airflow)[training]
        service.restart(pause_s=5)


def epochs_done(airflow: CeleryAirflow) -> dict[Path, int]:
    """Return the finished epochs by run folder."""
    found = airflow.home.workspace.root.glob("runs/*/epochs.jsonl")
    return {path: len(path.read_text().splitlines()) for path in found}


def kill_tree(process: psutil.Process | None) -> list[str]:
    """Kill a process and everything below it at once; returns the commands."""
    assert process is not None
    tree = [process, *process.children(recursive=True)]
    commands = [" ".join(one.cmdline()) for one in tree]
    for one in tree:
        with contextlib.suppress(psutil.Error):
            one.kill()
    return commands


@pytest.fixture(scope="module")
def disturber(airflow: CeleryAirflow) -> Disturber:
    return Disturber(airflow)


@pytest.fixture(scope="module")
def loop(airflow: CeleryAirflow, disturber: Disturber) -> Outcome:
    disturber.start()
    home = airflow.home
    plan = synthetic_plan(
        home.workspace,
        "tiny",
        count=4,
        size_px=384,
        projects_dir=home.projects_dir,
        training={},
        run_timeout_s=RUN_WITHIN_S,
    )
    return Demo(plan, airflow, LineScreen()).run()


@pytest.fixture(scope="module")
def drained(loop: Outcome, airflow: CeleryAirflow) -> dict[str, dict[str, Any]]:
    """One training more; returns its tasks, each with its result."""
    before = set(epochs_done(airflow))
    dag, run = "tiny.model_training", "test__drained"
    with airflow.api() as api:
        # a rate of its own makes a run of its own
        api.trigger(dag, run, {"epochs": 4, "learning_rate": 0.0017})
        wait_for(lambda: bool(set(epochs_done(airflow)) - before), "an epoch of the training", RUN_WITHIN_S)
        main = airflow.worker("gpu")
        assert main is not None
        main.kill()

        def tasks() -> dict[str, dict[str, Any]]:
            return {task["task_id"]: task for task in api.tasks(dag, run)}

        wait_for(lambda: tasks()["evaluate"]["state"] == "running", "the evaluation", RUN_WITHIN_S)
        successor = airflow.worker("gpu")
        assert successor is not None
        airflow.keep_down("worker-gpu")
        successor.send_signal(signal.SIGTERM)
        state = ""

        def ended() -> bool:
            nonlocal state
            state = (api.run(dag, run) or {})["state"]
            return state in {"success", "failed"}

        wait_for(ended, f"the end of {run}", RUN_WITHIN_S)
        assert airflow.worker("gpu") is None
        airflow.start_worker("gpu")
        assert state == "success", {name: (task["state"], task["try_number"]) for name, task in tasks().items()}
        return {name: task | {"result": api.result(dag, run, name)} for name, task in tasks().items()}


def test_the_loop_goes_round_though_the_gpu_worker_is_lost_in_the_first_training(
    loop: Outcome, airflow: CeleryAirflow, disturber: Disturber
) -> None:
    assert (loop.quiet["verdict"], loop.drifted["verdict"]) == ("no drift", "drift")
    assert loop.challenger["version"] == "2"
    assert loop.challenger["decision"] in {"promoted", "refused"}
    assert any(" train " in command for command in disturber.killed)
    assert "worker-gpu" in airflow.restarts
    assert (loop.train["epochs"], loop.train["resumed"]) == (3, True)
    tries = sorted(airflow.home.folder.glob("logs/tasks/dag_id=tiny.model_training/**/task_id=train/attempt=*.log"))
    assert [path.stem for path in tries] == ["attempt=1", "attempt=2"]


def test_the_retraining_does_not_notice_that_redis_and_postgresql_were_killed(
    loop: Outcome, airflow: CeleryAirflow, disturber: Disturber
) -> None:
    with airflow.api() as api:
        tasks = {task["task_id"]: task for task in api.tasks("tiny.model_retraining", loop.retraining_run)}
        result = api.result("tiny.model_retraining", loop.retraining_run, "train")
    assert 1 <= disturber.epochs_at["redis"] < disturber.epochs_at["postgresql"] <= 4
    assert (tasks["train"]["try_number"], result["epochs"], result["resumed"]) == (1, 4, False)


def test_the_task_of_a_worker_whose_main_process_was_killed_goes_on(drained: dict[str, dict[str, Any]]) -> None:
    train = drained["train"]
    assert (train["try_number"], train["result"]["epochs"], train["result"]["resumed"]) == (1, 4, False)


def test_a_drained_worker_ends_its_task_and_leaves(drained: dict[str, dict[str, Any]]) -> None:
    assert (drained["evaluate"]["state"], drained["evaluate"]["try_number"]) == ("success", 1)


def test_nothing_was_delivered_or_run_twice(drained: dict[str, Any], airflow: CeleryAirflow) -> None:
    received = Counter(
        found
        for queue in ("default", "gpu")
        for found in re.findall(r"execute_workload\[([0-9a-f-]{36})\] received", airflow.log_of(f"worker-{queue}"))
    )
    assert len(received) > 50
    assert {task for task, times in received.items() if times > 1} == set()
    starts = {
        path: len(re.findall(r"SATSEG_WORKSPACE=\S+ satseg ", path.read_text()))
        for path in airflow.home.folder.glob("logs/tasks/**/attempt=*.log")
    }
    assert sum(starts.values()) > 30
    assert {str(path): times for path, times in starts.items() if times > 1} == {}


def test_only_the_killed_training_was_tried_again(drained: dict[str, Any], airflow: CeleryAirflow) -> None:
    retried = airflow.home.postgres.query(
        "SELECT dag_id, run_id, task_id, try_number FROM task_instance WHERE try_number > 1 AND state <> 'skipped'"
    )
    assert retried == [["tiny.model_training", "demo__first", "train", "2"]]
    states = airflow.home.postgres.query("SELECT DISTINCT state FROM dag_run")
    assert states == [["success"]]


def test_stages_that_hold_a_device_ran_on_the_gpu_worker_alone(drained: dict[str, Any], airflow: CeleryAirflow) -> None:
    rows = airflow.home.postgres.query("SELECT DISTINCT queue, pool FROM task_instance WHERE start_date IS NOT NULL")
    assert sorted(rows) == [["default", "default_pool"], ["gpu", "gpu"]]
    for queue in ("default", "gpu"):
        took = re.findall(r"Executing workload in Celery: .*? queue='(\w+)'", airflow.log_of(f"worker-{queue}"))
        assert set(took) == {queue}


def test_workers_hold_none_of_the_orchestrators_secrets(loop: Outcome, airflow: CeleryAirflow) -> None:
    worker = airflow.worker("default")
    assert worker is not None
    assert set(worker.environ()) & set(NOT_FOR_WORKERS) == set()
    assert airflow.home.postgres.passwords["airflow"] not in "\n".join(worker.environ().values())


def test_a_wrong_password_is_refused_and_the_login_is_fabs(loop: Outcome, airflow: CeleryAirflow) -> None:
    import httpx

    login = {"username": "admin", "password": "admin"}
    answer = httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(f"{airflow.url}/api/v2/dags", trust_env=False).status_code == httpx.codes.UNAUTHORIZED


def test_metrics_are_those_that_the_dashboards_expect(drained: dict[str, Any], statsd: StatsdListener) -> None:
    if listing := os.environ.get("AIRFLOW_METRICS_LISTING"):
        Path(listing).write_text("\n".join(sorted(statsd.seen)) + "\n")
    expected = (Path(__file__).parent / "airflow_metrics.txt").read_text().split()
    seen = {name.partition(",")[0] for name in statsd.seen}
    assert set(expected) - seen == set()
    labels = {name.partition(",")[0]: set(name.split(",")[2:]) for name in statsd.seen}
    assert labels["airflow.ti.finish"] >= {"dag_id", "task_id", "state"}
    assert labels["airflow.pool.running_slots"] == {"pool_name"}
