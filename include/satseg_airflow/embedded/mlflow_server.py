"""MLflow's UI over the embedded tracking database, for `up`."""

import contextlib
import sys
import time
from collections.abc import Callable

import httpx

from satseg.errors import TemporaryError
from satseg_airflow.embedded.airflow import EmbeddedAirflow, log_tail
from satseg_airflow.embedded.environment import HOST, MARK
from satseg_airflow.embedded.processes import reap, start

READY_WITHIN_S = 120.0


def start_mlflow(airflow: EmbeddedAirflow, say: Callable[[str], None]) -> str:
    """Start the server, wait until it answers, and return its address.

    Raises:
        TemporaryError: it does not come up; the message holds the end of its log.
    """
    folder = airflow.home.workspace.mlflow
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{airflow.ports.mlflow}"
    log = airflow.home.logs / "mlflow.log"
    say("Starting MLflow's UI ...")
    environment = airflow.home.environment(airflow.ports)
    # job execution would add a dozen processes
    environment = {name: value for name, value in environment.items() if not name.startswith("AIRFLOW__")}
    environment |= {MARK: str(airflow.home.folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", HOST, "--port", str(airflow.ports.mlflow)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--default-artifact-root", str(folder / "artifacts")),
    ]
    server = start("mlflow", command, environment, log, airflow.tied)
    airflow.started.append(server)
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        reap()
        if server.process() is None:
            raise TemporaryError(f"MLflow's server ended at once.\n{log_tail(log)}")
        with contextlib.suppress(httpx.TransportError):  # not listening yet
            if httpx.get(f"{url}/health", timeout=2.0, trust_env=False).is_success:
                return url
        time.sleep(0.5)
    raise TemporaryError(f"MLflow does not answer at {url} after {READY_WITHIN_S:.0f} s.\n{log_tail(log)}")
