"""A real API server of Airflow on a workspace, with or without the plugin, and the database it needs."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil

from satseg.storage.layout import Workspace
from satseg_airflow.embedded.environment import HOST, Home, Ports, free_ports

ROOT = Path(__file__).resolve().parents[1]
READY_WITHIN_S = 600.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    process: subprocess.Popen[bytes]
    home: Home

    def client(self, user: str) -> httpx.Client:
        """Return a client with a user's token."""
        login = {"username": user, "password": self.home.passwords()[user]}
        token = httpx.post(f"{self.url}/auth/token", json=login, timeout=60, trust_env=False).json()["access_token"]
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=120, trust_env=False
        )

    def memory_bytes(self) -> int:
        """Return the resident set of the process and its children."""
        parent = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))

    def processor_s(self) -> float:
        """Return the processor time it has used so far, its ended children's too; no other job changes it."""
        parent = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:4]) for one in (parent, *parent.children(recursive=True)))


def prepare(root: Path, projects: Path, runs_per_dag: int = 0) -> Home:
    """Make Airflow's database for the project files, with finished runs of every DAG; returns its home."""
    home = Home(Workspace(root), projects)
    home.prepare()
    words = [sys.executable, __file__, "--fill", str(runs_per_dag)]
    patient = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "900"}  # a file makes the DAGs of all projects
    environment = home.environment(Ports(0, 0, 0, 0)) | patient
    subprocess.run(words, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return home


@contextmanager
def api_server(home: Home, plugins: Path, log: Path) -> Iterator[ApiServer]:
    """Run an API server until the block ends."""
    ports = free_ports()
    environment = home.environment(ports) | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        server = ApiServer(f"http://{HOST}:{ports.web}", process, home)
        try:
            _wait(server, log)
            yield server
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    for one in (*children, process):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def _wait(server: ApiServer, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with suppress(httpx.TransportError):
            if httpx.get(f"{server.url}/api/v2/version", timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.5)
    raise SystemExit(f"The API server did not come up:\n{log.read_text(errors='replace')[-3000:]}")


def fill(runs_per_dag: int) -> None:
    """Make the database of this process's Airflow, with every DAG and some finished runs of each."""
    from airflow.utils.db import initdb

    initdb()
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with create_session() as session:
        for dag_id in bag.dags:
            for number in range(runs_per_dag):
                begun = start + timedelta(days=number)
                times = {"start_date": begun, "run_after": begun, "queued_at": begun}
                run = DagRun(dag_id=dag_id, run_id=f"manual__{number}", run_type="manual", state="success", **times)
                run.end_date = begun + timedelta(minutes=10)
                session.add(run)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fill", type=int, required=True)
    fill(parser.parse_args().fill)
