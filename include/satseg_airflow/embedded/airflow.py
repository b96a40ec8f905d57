"""The embedded Airflow: API server, scheduler, DAG processor and triggerer on one machine."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from satseg.config.settings import settings
from satseg.errors import LockHeldError, TemporaryError
from satseg.storage.atomic import exclusive
from satseg_airflow.embedded.environment import HOST, ROOT, Home, Ports, free_ports
from satseg_airflow.embedded.processes import Started, marked, reap, start, stop, uninterrupted
from satseg_airflow.pools import GPU_POOL, gpu_slots
from satseg_airflow.rest import AirflowApi
from satseg_airflow.runners import Place

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
HEALTHY_WITHIN_S = 240.0
LOG_TAIL_LINES = 15


@dataclass
class EmbeddedAirflow:
    """One Airflow in one workspace; `tied` ones end with this process."""

    home: Home
    tied: bool = True
    ports: Ports = field(default_factory=free_ports)
    started: list[Started] = field(default_factory=list)
    healthy_within_s: float = HEALTHY_WITHIN_S

    @property
    def url(self) -> str:
        """Of the web UI and the REST API."""
        return f"http://{HOST}:{self.ports.web}"

    def api(self) -> AirflowApi:
        """Return a client logged in as admin."""
        return AirflowApi(self.url, "admin", self.home.passwords()["admin"])

    def start(self, say: Callable[[str], None]) -> None:
        """Make the database, start the components, wait until all are healthy, set up the `gpu` pool.

        Raises:
            TemporaryError: another Airflow runs in this workspace, or a component does not come up; says where its
                log is and how it ends.
        """
        if running := marked(self.home.folder):
            raise TemporaryError(
                f"An Airflow is running in {self.home.workspace.root} already (process {running[0].pid}). "
                f"Stop it first: make down WORKSPACE={self.home.workspace.root}"
            )
        self.home.prepare()
        self._clear_leftovers()
        self._migrate(self.home.environment(self.ports))
        say("Starting Airflow: API server, scheduler, DAG processor, triggerer ...")
        for name in COMPONENTS:
            self._start(name)
        self._wait_until_healthy()
        with self.api() as api:
            api.set_pool(GPU_POOL, gpu_slots(), "One slot per GPU (one without): tasks that train or predict.")

    def restart(self, name: str) -> None:
        """Start a component again that has ended, and wait until all are healthy."""
        self.started = [component for component in self.started if component.name != name]
        self._start(name)
        self._wait_until_healthy()

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", "airflow", name]
        environment = self.home.environment(self.ports)
        self.started.append(start(name, command, environment, self.home.logs / f"{name}.log", self.tied))

    def stop(self) -> None:
        """Stop everything; returns when no process is left."""
        stop(self.started, self.home.folder)
        self.started.clear()
        self.ports.release()
        self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        shutil.rmtree(self.home.workspace.scratch, ignore_errors=True)  # of killed tasks
        for pid_file in self.home.folder.glob("*.pid"):
            pid_file.unlink(missing_ok=True)
        if settings().runner == Place.DOCKER:
            from satseg_airflow.containers.orphans import clear_workspace

            clear_workspace(self.home.workspace)

    def _migrate(self, environment: dict[str, str]) -> None:
        log = self.home.logs / "db-migrate.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise TemporaryError(f"`airflow db migrate` ended with exit code {done.returncode}.\n{log_tail(log)}")

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + self.healthy_within_s
        health: dict[str, str] = {}
        with AirflowApi(self.url, "", "") as api:
            while time.monotonic() < deadline:
                reap()
                for component in self.started:
                    if component.process() is None:
                        log = self.home.logs / f"{component.name}.log"
                        raise TemporaryError(f"Airflow's {component.name} ended at once.\n{log_tail(log)}")
                health = api.health()
                if health and all(state == "healthy" for state in health.values()):
                    return
                time.sleep(1)
        raise TemporaryError(
            f"Airflow is not healthy after {self.healthy_within_s:.0f} s ({health or 'no answer'}). "
            f"Its logs are in {self.home.logs}. Is the machine busy with something else?"
        )


@contextlib.contextmanager
def running_airflow(home: Home, say: Callable[[str], None]) -> Iterator[EmbeddedAirflow]:
    """Yield a started Airflow; when the block ends, however it ends, no process and no lock file is left."""
    airflow = EmbeddedAirflow(home)
    try:
        airflow.start(say)
        yield airflow
    finally:
        with uninterrupted():
            airflow.stop()
            remove_leftovers(home)


def remove_leftovers(home: Home) -> None:
    """Remove the files of locks nobody holds and an empty scratch folder: harmless, but they look forgotten."""
    with contextlib.suppress(OSError):
        home.workspace.scratch.rmdir()
    with (
        contextlib.suppress(LockHeldError),
        exclusive(home.workspace.lock("data"), "The data repository", timeout_s=0),
    ):
        for name in ("lock", "rwlock", "rwlock.lock"):  # DVC leaves them; nobody uses it while we hold ours
            (home.workspace.data / ".dvc" / "tmp" / name).unlink(missing_ok=True)
    folder = home.workspace.lock("any").parent
    for path in folder.glob("*.lock"):
        with contextlib.suppress(LockHeldError), exclusive(path, path.stem, timeout_s=0):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a held one is still in it, or there was none
        folder.rmdir()


def log_tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """Return the end of a log file under its path."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError as error:
        text = [f"(not readable: {error})"]
    return "\n".join([f"--- {log}", *text])
