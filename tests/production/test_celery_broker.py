"""The broker's settings alone, on a real Redis and real workers: nothing is begun twice or waits behind a long task."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Redis, missing, wait_for

pytestmark = [
    pytest.mark.celery,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing("celery")), reason=f"needs {', '.join(missing('celery'))}"),
]
PATIENCE_S = 600.0
LONG_S = 25.0  # the broker looks for messages to deliver again every ten rounds of a second or so


class Workers:
    """Workers of the queue gpu, one process each."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self.folder, self.redis = folder, redis
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, acks_late: str | None = None) -> None:
        environment = self._environment() | ({"TEST_ACKS_LATE": acks_late} if acks_late else {})
        number = len(self._running)
        options = ["--concurrency", "1", "--hostname", f"w{number}@test", "--loglevel", "INFO"]
        log = (self.folder / f"w{number}.log").open("ab")
        command = [sys.executable, "-m", "celery", "--app", "celery_tasks", "worker", *options]
        self._running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        wait_for(lambda: b"ready." in (self.folder / f"w{number}.log").read_bytes(), "the worker is ready", PATIENCE_S)

    def send(self, seconds: float) -> str:
        code = "import sys, celery_tasks as t; print(t.work.delay(sys.argv[1], float(sys.argv[2])).id)"
        command = [sys.executable, "-c", code, str(self.folder), str(seconds)]
        return subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True
        ).stdout.strip()

    def begun(self, message: str) -> int:
        path = self.folder / message
        return len(path.read_text().splitlines()) if path.exists() else 0

    def wait_until_begun(self, message: str) -> None:
        wait_for(lambda: self.begun(message) > 0, f"{message} begins", PATIENCE_S)

    def wait_until_done(self, message: str) -> None:
        wait_for((self.folder / f"{message}.done").exists, f"{message} ends", PATIENCE_S)

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        return os.environ | {"PYTHONPATH": path, "TEST_BROKER": self.redis.url()}


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    redis = Redis()
    redis.start()
    workers = Workers(tmp_path, redis)
    yield workers
    workers.stop()
    redis.stop()


def test_a_task_that_outlives_the_visibility_timeout_is_begun_once(workers: Workers) -> None:
    workers.start()
    workers.start()
    message = workers.send(LONG_S)
    workers.wait_until_done(message)
    time.sleep(5)
    assert workers.begun(message) == 1


def test_with_late_acknowledgement_it_would_be_begun_twice(workers: Workers) -> None:
    workers.start(acks_late="True")
    workers.start(acks_late="True")
    message = workers.send(PATIENCE_S)
    wait_for(lambda: workers.begun(message) > 1, "the broker delivers it again", PATIENCE_S)


def test_tasks_begun_and_tasks_waiting_outlive_a_kill_of_redis_and_run_once(workers: Workers) -> None:
    workers.start()
    begun, waiting = workers.send(LONG_S), workers.send(0)
    workers.wait_until_begun(begun)
    time.sleep(2)  # the append-only file is written every second
    assert workers.redis.ask("llen", "gpu") == "1"  # not taken by the worker that is busy
    workers.redis.restart(pause_s=3)
    for message in (begun, waiting):
        workers.wait_until_done(message)
        assert workers.begun(message) == 1


def test_a_task_goes_to_the_worker_that_is_free(workers: Workers) -> None:
    workers.start()
    first, second = workers.send(PATIENCE_S), workers.send(0)
    workers.wait_until_begun(first)
    time.sleep(3)
    assert workers.begun(second) == 0
    workers.start()
    workers.wait_until_done(second)
