"""Debian's PostgreSQL and Redis on loopback, each with its own data folder, password and port."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_S = 60.0


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(reached: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not after the given time.
    """
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def missing(*packages: str) -> list[str]:
    """Return what the tests need and this machine lacks, and how to get it; nothing is imported."""
    programs = {
        "Debian's postgresql": _postgres_programs() is not None,
        "Debian's redis-server": shutil.which("redis-server") is not None,
    }
    libraries = {f"{name} (make venv-production)": importlib.util.find_spec(name) is not None for name in packages}
    return [name for name, there in (programs | libraries).items() if not there]


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass
class Postgres:
    """A PostgreSQL cluster with the databases and roles of docker-compose.yaml: airflow, celery."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="satseg-pg-")))
    port: int = field(default_factory=free_port)
    passwords: dict[str, str] = field(
        default_factory=lambda: {name: secrets.token_hex(16) for name in ("postgres", "airflow", "celery", "mlflow")}
    )

    def start(self) -> None:
        """Make the cluster, start it, and make the databases with a role each, as docker-compose.yaml does."""
        self.start_empty()
        secrets_of = {f"{name.upper()}_DB_PASSWORD": password for name, password in self.passwords.items()}
        server = {"PGHOST": HOST, "PGPORT": str(self.port), "PGPASSWORD": self.passwords["postgres"]}
        script = Path(__file__).resolve().parents[2] / "docker" / "postgres" / "roles.sh"
        subprocess.run(["bash", str(script)], env=os.environ | secrets_of | server, check=True)

    def start_empty(self) -> None:
        """Make the cluster and start it."""
        programs = _postgres_programs()
        assert programs is not None
        self._programs = programs
        secret = self.folder / "superuser"
        secret.write_text(self.passwords["postgres"])
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        options = ["--auth=scram-sha-256", "--username=postgres", f"--pwfile={secret}", "--encoding=UTF8"]
        self._run("initdb", "-D", str(self._data), *options)
        self._control("start")

    def restart(self, pause_s: float) -> None:
        """Stop it hard (`immediate` is what a crash leaves), stay away for a while, start it again."""
        self._control("stop", "-m", "immediate")
        time.sleep(pause_s)
        self._control("start")

    def stop(self) -> None:
        """Stop it and remove its data."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._control("stop", "-m", "immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """Return the address of a database as its own role."""
        return f"postgresql://{name}:{self.passwords[name]}@{HOST}:{self.port}/{name}"

    def query(self, sql: str, name: str = "airflow") -> list[list[str]]:
        """Run one statement and return its rows."""
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(name)],
            check=True,
            capture_output=True,
            text=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines() if line]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _control(self, *words: str) -> None:
        options = f"-c listen_addresses={HOST} -c port={self.port} -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.folder / "log"), "-o", options, *words)

    def _run(self, program: str, *arguments: str) -> None:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        command = [*as_user, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


@dataclass
class Redis:
    """A Redis server that keeps what it has in an append-only file, as in docker-compose.yaml."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="satseg-redis-")))
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self.folder / "redis.conf").write_text(f"requirepass {self.password}\n")
        self._process = subprocess.Popen(
            [
                *("redis-server", str(self.folder / "redis.conf"), "--bind", HOST, "--port", str(self.port)),
                *("--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "everysec"),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for(lambda: self.ask("ping") == "PONG", "Redis answers")

    def restart(self, pause_s: float) -> None:
        """Kill it, stay away for a while, start it again on the same files."""
        self._process.kill()
        self._process.wait()
        time.sleep(pause_s)
        self.start()

    def stop(self) -> None:
        """Stop it and remove its data."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        """Return its address."""
        return f"redis://:{self.password}@{HOST}:{self.port}/{database}"

    def ask(self, *words: str) -> str:
        """Run one command and return its answer."""
        environment = os.environ | {"REDISCLI_AUTH": self.password}
        command = ["redis-cli", "-h", HOST, "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stdout.strip()
