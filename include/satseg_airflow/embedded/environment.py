"""The environment of the embedded Airflow: paths, ports and generated secrets, everything under the workspace."""

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from satseg.config.settings import settings
from satseg.errors import ConfigurationError, TemporaryError
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace
from satseg_airflow.embedded.mark import MARK

ROOT = Path(__file__).resolve().parents[3]
USERS = ("admin", "user", "viewer")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """TCP ports on this machine."""

    web: int
    worker_logs: int
    trigger_logs: int
    mlflow: int
    reserved: tuple[socket.socket, ...] = field(default=(), repr=False, compare=False)

    def release(self) -> None:
        """Let another Airflow that is being started have them."""
        for mark in self.reserved:
            mark.close()


@dataclass(frozen=True)
class Home:
    """AIRFLOW_HOME in a workspace: what is where, and the generated secrets."""

    workspace: Workspace
    projects_dir: Path = field(default_factory=lambda: settings().projects_dir.resolve())  # noqa: PLW0108 - read when used

    @property
    def folder(self) -> Path:
        """AIRFLOW_HOME."""
        return self.workspace.airflow

    @property
    def logs(self) -> Path:
        """One log file per component; task logs are beside them in `tasks/`."""
        return self.folder / "logs"

    @property
    def state_file(self) -> Path:
        """What `up` started."""
        return self.folder / "up.json"

    @property
    def passwords_file(self) -> Path:
        """User name to generated password."""
        return self.folder / "simple_auth_manager_passwords.json.generated"

    def passwords(self) -> dict[str, str]:
        """Return the generated passwords by user."""
        made: dict[str, str] = json.loads(self.passwords_file.read_text(encoding="utf-8"))
        return made

    def prepare(self) -> None:
        """Make the folder, readable by its owner alone, and generate the secrets and passwords that are missing.

        Raises:
            ConfigurationError: satseg is not run from its repository, so there are no DAGs.
        """
        if not (ROOT / "airflow.cfg").is_file():
            raise ConfigurationError(
                f"No airflow.cfg in {ROOT}: run Airflow from a clone of the repository, installed by `make venv`."
            )
        self.logs.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        _keep(self.folder / "secrets.json", _new_secrets)
        _keep(self.passwords_file, lambda: {user: secrets.token_urlsafe(12) for user in USERS})

    def environment(self, ports: Ports) -> dict[str, str]:
        """Return the environment every component and command of this Airflow needs."""
        generated = json.loads((self.folder / "secrets.json").read_text(encoding="utf-8"))
        web = f"http://{HOST}:{ports.web}"
        local = ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST, "localhost")))
        return os.environ | {
            MARK: str(self.folder),
            "SPT_NOENV": "1",  # Airflow's process titles must not overwrite the mark
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "include"), os.environ.get("PYTHONPATH")))),
            "NO_PROXY": local,
            "no_proxy": local,
            "SATSEG_WORKSPACE": str(self.workspace.root),
            "SATSEG_PROJECTS_DIR": str(self.projects_dir),
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__FERNET_KEY": generated["fernet_key"],
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.passwords_file),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{web}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
            "AIRFLOW__API__BASE_URL": web,
            "AIRFLOW__API__PORT": str(ports.web),
            "AIRFLOW__API__SECRET_KEY": generated["api_secret_key"],
            "AIRFLOW__API_AUTH__JWT_SECRET": generated["jwt_secret"],
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs / "tasks"),
            "AIRFLOW__DAG_PROCESSOR__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.logs / "dag_processor"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports.worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.trigger_logs),
        }


def free_ports() -> Ports:
    """Return ports nobody listens on, the usual ones where they are free, and keep other Airflows from taking them.

    Raises:
        TemporaryError: hundreds of ports in a row are taken.
    """
    marks: list[socket.socket] = []
    numbers = [_first_free(first, marks) for first in (8080, 8793, 8794, 5000)]
    return Ports(*numbers, reserved=tuple(marks))


def _first_free(first: int, marks: list[socket.socket]) -> int:
    for port in range(first, first + 400):
        mark = _reserved(port)
        if mark is not None and _is_free(port):
            marks.append(mark)
            return port
        if mark is not None:
            mark.close()
    raise TemporaryError(f"No free TCP port from {first} to {first + 399}: stop what listens there.")


def _reserved(port: int) -> socket.socket | None:
    """Return a mark that this process means to listen on a port, None when another does.

    Airflow takes seconds to bind its port, and two that start at once would find the same one free. The mark is a name
    in Linux's abstract socket namespace, which ends with the process and has the same reach as the port.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0satseg-port-{port}")
    except OSError:
        mark.close()
        return None
    return mark


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do; a closed one's port counts as free
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _new_secrets() -> dict[str, str]:
    return {
        "jwt_secret": secrets.token_urlsafe(48),
        "api_secret_key": secrets.token_urlsafe(48),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def _keep(path: Path, make: Callable[[], dict[str, str]]) -> None:
    if not path.exists():
        write_json(path, make())
        path.chmod(0o600)
