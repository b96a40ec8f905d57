"""The loop on CeleryExecutor with Debian's Redis and PostgreSQL while parts of it are killed: `make test-celery`.

Two workers (queues default and gpu) run with the settings of docker/airflow.env. The visibility timeout is 3 s here: a
broker that delivers anything again does so within every single stage.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery_airflow import NOT_FOR_WORKERS, CeleryAirflow, CeleryHome
from services import missing_programs, wait_for
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
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        bool(missing_programs()), reason=f"not installed: apt-get install {' '.join(missing_programs())}"
    ),
]
RUN_WITHIN_S = 600.0
PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: resnet18, epochs: 3, steps_per_epoch: 4, batch_size: 4}
retraining: {epochs: 1}
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


class WorkerKiller(threading.Thread):
    """Kills the gpu worker and all it runs, once, when the first training has done an epoch: a machine is lost."""

    def __init__(self, airflow: CeleryAirflow) -> None:
        super().__init__(daemon=True)
        self.airflow = airflow
        self.killed: list[str] = []

    def run(self) -> None:
        wait_for(lambda: bool(epochs_done(self.airflow)), "an epoch of the first training", RUN_WITHIN_S)
        self.killed = kill_tree(self.airflow.worker("gpu"))


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
def killer(airflow: CeleryAirflow) -> WorkerKiller:
    return WorkerKiller(airflow)


@pytest.fixture(scope="module")
def loop(airflow: CeleryAirflow, killer: WorkerKiller) -> Outcome:
    killer.start()
    home = airflow.home
    plan = synthetic_plan(
        home.workspace, "tiny", count=4, size_px=384, projects_dir=home.projects_dir, training={}, run_timeout_s=900
    )
    return Demo(plan, airflow, LineScreen()).run()


def train(airflow: CeleryAirflow, name: str, disturb: Callable[[], Any], epochs: int = 6) -> dict[str, Any]:
    """Train once more, do something to it after its first epoch, and return the train task when the run has ended."""
    before = set(epochs_done(airflow))
    dag, run = "tiny.model_training", f"test__{name}"
    with airflow.api() as api:
        # a rate of its own makes a run of its own
        api.trigger(dag, run, {"epochs": epochs, "learning_rate": 0.001 + len(before) / 1e5})
        wait_for(lambda: bool(set(epochs_done(airflow)) - before), "an epoch of the training", RUN_WITHIN_S)
        disturb()
        state: dict[str, Any] = {}

        def ended() -> bool:
            state.update(api.run(dag, run) or {})
            return state.get("state") in {"success", "failed"}

        wait_for(ended, f"the end of {run}", RUN_WITHIN_S)
        tasks = {task["task_id"]: task for task in api.tasks(dag, run)}
        assert state["state"] == "success", {name: (task["state"], task["try_number"]) for name, task in tasks.items()}
        return tasks["train"] | {"result": api.result(dag, run, "train")}


def test_the_loop_goes_round_though_the_gpu_worker_is_killed_in_the_first_training(
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


def test_redis_is_killed_in_mid_training(loop: Outcome, airflow: CeleryAirflow) -> None:
    task = train(airflow, "redis", lambda: airflow.home.redis.restart(pause_s=5))
    assert (task["try_number"], task["result"]["epochs"], task["result"]["resumed"]) == (1, 6, False)


def test_postgresql_is_killed_in_mid_training(loop: Outcome, airflow: CeleryAirflow) -> None:
    task = train(airflow, "postgresql", lambda: airflow.home.postgres.restart(pause_s=5))
    assert (task["try_number"], task["result"]["epochs"], task["result"]["resumed"]) == (1, 6, False)


def test_the_main_process_of_a_worker_is_killed_and_its_task_goes_on(loop: Outcome, airflow: CeleryAirflow) -> None:
    worker = airflow.worker("gpu")
    assert worker is not None
    task = train(airflow, "main", worker.kill)
    assert (task["try_number"], task["result"]["resumed"]) == (1, False)


def test_a_drained_worker_ends_its_task_takes_no_other_and_leaves(loop: Outcome, airflow: CeleryAirflow) -> None:
    worker = airflow.worker("gpu")
    assert worker is not None
    airflow.keep_down("worker-gpu")
    drained = threading.Event()

    def drain() -> None:
        worker.send_signal(signal.SIGTERM)
        threading.Thread(target=replace, daemon=True).start()

    def replace() -> None:
        wait_for(lambda: airflow.worker("gpu") is None, "the worker leaves", RUN_WITHIN_S)
        drained.set()
        assert airflow.home.redis.ask("llen", "gpu") in {"0", "1"}
        time.sleep(5)
        airflow.start_worker("gpu")

    task = train(airflow, "drain", drain)
    assert drained.is_set()
    assert (task["try_number"], task["result"]["resumed"]) == (1, False)


def test_nothing_was_delivered_or_run_twice(loop: Outcome, airflow: CeleryAirflow) -> None:
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


def test_only_the_killed_training_was_tried_again(loop: Outcome, airflow: CeleryAirflow) -> None:
    retried = airflow.home.postgres.query(
        "SELECT dag_id, task_id, try_number FROM task_instance WHERE try_number > 1 AND state <> 'skipped'"
    )
    assert retried == [["tiny.model_training", "train", "2"]]
    states = airflow.home.postgres.query("SELECT DISTINCT state FROM dag_run")
    assert states == [["success"]]


def test_stages_that_hold_a_device_ran_on_the_gpu_worker_alone(loop: Outcome, airflow: CeleryAirflow) -> None:
    rows = airflow.home.postgres.query("SELECT queue, pool, id FROM task_instance WHERE start_date IS NOT NULL")
    queue_of = {task: queue for queue, _, task in rows}
    assert {(queue, pool) for queue, pool, _ in rows} == {("default", "default_pool"), ("gpu", "gpu")}
    for queue in ("default", "gpu"):
        ran = set(re.findall(r'"?id"?[=:\s(\']+([0-9a-f]{8}-[0-9a-f-]{27})', airflow.log_of(f"worker-{queue}")))
        assert {queue_of[task] for task in ran if task in queue_of} == {queue}


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


def test_metrics_are_those_that_the_dashboards_expect(loop: Outcome, statsd: StatsdListener) -> None:
    if listing := os.environ.get("AIRFLOW_METRICS_LISTING"):
        Path(listing).write_text("\n".join(sorted(statsd.seen)) + "\n")
    expected = (Path(__file__).parent / "airflow_metrics.txt").read_text().split()
    assert set(expected) - statsd.seen == set()
