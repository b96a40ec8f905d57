"""Airflow as docker-compose.yaml runs it, without containers: CeleryExecutor, Redis, PostgreSQL, FAB, two workers."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from services import Postgres, Redis

from satseg_airflow.embedded.airflow import EmbeddedAirflow
from satseg_airflow.embedded.environment import ROOT, Home, Ports
from satseg_airflow.embedded.processes import Started, reap, start

WORKERS = ("default", "gpu")
# what a worker does without: with these a task could read the database, or pass for another
NOT_FOR_WORKERS = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
)
# 300 s, 900 s and 7 days in production; every stage here outlives this visibility timeout, as a training of 30 hours
# would outlive one of a day
SHORTER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "3",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__API__WORKERS": "1",
}


def production_settings() -> dict[str, str]:
    """Return docker/airflow.env."""
    lines = (ROOT / "docker" / "airflow.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class CeleryHome(Home):
    """AIRFLOW_HOME with the settings of production."""

    postgres: Postgres = field(default_factory=Postgres)
    redis: Redis = field(default_factory=Redis)
    statsd_port: int = 8125

    def environment(self, ports: Ports) -> dict[str, str]:
        """See `Home.environment`."""
        celery = self.postgres.url("celery").replace("postgresql://", "db+postgresql+psycopg2://")
        return (
            super().environment(ports)
            | production_settings()
            | SHORTER
            | {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url("airflow").replace("://", "+psycopg2://", 1),
                "AIRFLOW__CELERY__BROKER_URL": self.redis.url(),
                "AIRFLOW__CELERY__RESULT_BACKEND": celery,
                "AIRFLOW__METRICS__STATSD_PORT": str(self.statsd_port),
            }
        )


class CeleryAirflow(EmbeddedAirflow):
    """The components, the two workers, and the restart policy that containers have."""

    home: CeleryHome

    def __init__(self, home: CeleryHome) -> None:
        super().__init__(home, healthy_within_s=900.0)  # on a machine that others use too
        self._stay_down: set[str] = set()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.restarts: list[str] = []
        self._policy = threading.Thread(target=self._restart_what_ends, daemon=True)

    def start(self, say) -> None:
        """See `EmbeddedAirflow.start`."""
        self.home.postgres.start()
        self.home.redis.start()
        super().start(say)
        for queue in WORKERS:
            self.start_worker(queue)
        self._policy.start()

    def stop(self) -> None:
        """See `EmbeddedAirflow.stop`."""
        self._ended.set()
        with self._lock:
            super().stop()
        self.home.redis.stop()
        self.home.postgres.stop()

    def start_worker(self, queue: str) -> None:
        """Start the worker of a queue."""
        with self._lock:
            self._stay_down.discard(f"worker-{queue}")
            self._start(f"worker-{queue}")

    def worker(self, queue: str) -> psutil.Process | None:
        """Return the main process of the worker of a queue."""
        return next((one.process() for one in self.started if one.name == f"worker-{queue}" and one.process()), None)

    def keep_down(self, name: str) -> None:
        """Let a component end without being started again."""
        self._stay_down.add(name)

    def log_of(self, name: str) -> str:
        """Return what a component has written."""
        return (self.home.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _start(self, name: str) -> None:
        environment, words = self.home.environment(self.ports), [name]
        if name.startswith("worker-"):
            queue = name.removeprefix("worker-")
            environment = {key: value for key, value in environment.items() if key not in NOT_FOR_WORKERS}
            words = ["celery", "worker", "--queues", queue, "--concurrency", "2" if queue == "default" else "1"]
            words += ["--celery-hostname", f"{queue}@{os.getpid()}", "--skip-serve-logs"]
        command = [sys.executable, "-m", "airflow", *words]
        self.started.append(start(name, command, environment, self.home.logs / f"{name}.log", self.tied))

    def _migrate(self, environment: dict[str, str]) -> None:
        super()._migrate(environment)
        log = self.home.logs / "users.log"
        words = ["users", "create", "--username", "admin", "--role", "Admin", "--email", "admin@example.org"]
        words += ["--firstname", "A", "--lastname", "Admin", "--password", self.home.passwords()["admin"]]
        with log.open("ab") as output:
            command = [sys.executable, "-m", "airflow", *words]
            subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=True)

    def _restart_what_ends(self) -> None:
        while not self._ended.wait(1.0):
            reap()
            with self._lock:
                if self._ended.is_set():
                    return
                for one in [one for one in self.started if one.ended()]:
                    self._restart(one)

    def _restart(self, ended: Started) -> None:
        self.started.remove(ended)
        if ended.name in self._stay_down:
            return
        self.restarts.append(ended.name)
        for pid_file in Path(self.home.folder).glob(f"*{ended.name}*.pid"):
            pid_file.unlink(missing_ok=True)
        time.sleep(1)
        self._start(ended.name)
