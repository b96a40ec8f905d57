"""Write what docker-compose.yaml needs into .env: generated secrets, folders, the Docker group. Keeps what is there.

Run by `make secrets`; standard library only, so that a bare machine can run it.
"""

import argparse
import base64
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHORTEST = 16
FERNET_BYTES = 32
WEAK = re.compile(
    r"(?i)^(change.?me|password|secret|admin|minioadmin|airflow|postgres|default|example|todo|xxx+).{0,8}$"
)
# these stand in addresses: redis://:PASSWORD@host
IN_ADDRESSES = (
    "AIRFLOW_DB_PASSWORD",
    "CELERY_DB_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "REDIS_PASSWORD",
    "MINIO_ROOT_PASSWORD",
)
FOLDERS = ("WORKSPACE_DIR", "PROJECTS_DIR", "BACKUP_DIR")


def _password() -> str:
    return secrets.token_hex(24)  # hex, because most of them stand in addresses


def _fernet() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(FERNET_BYTES)).decode()


SECRETS: dict[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _password,
    "AIRFLOW_DB_PASSWORD": _password,
    "CELERY_DB_PASSWORD": _password,
    "MLFLOW_DB_PASSWORD": _password,
    "REDIS_PASSWORD": _password,
    "AIRFLOW_ADMIN_PASSWORD": _password,
    "AIRFLOW_FERNET_KEY": _fernet,
    "AIRFLOW_SECRET_KEY": _password,
    "AIRFLOW_JWT_SECRET": _password,
    "MINIO_ROOT_PASSWORD": _password,
    "MINIO_MLFLOW_PASSWORD": _password,
    "MINIO_DATASETS_PASSWORD": _password,
    "MLFLOW_PASSWORD": _password,
    "MLFLOW_SECRET_KEY": _password,
    "SERVING_KEYS": _password,
    "GRAFANA_PASSWORD": _password,
    "GRAFANA_SECRET_KEY": _password,
}


def places(root: Path) -> dict[str, str]:
    """Return the settings that depend on this machine."""
    socket = Path("/var/run/docker.sock")
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return {
        "COMPOSE_PROJECT_NAME": "satseg",
        "WORKSPACE_DIR": str(root / "workspace-production"),
        "PROJECTS_DIR": str(ROOT / "include" / "projects"),
        "BACKUP_DIR": str(root / "backups"),
        "DOCKER_GROUP": str(socket.stat().st_gid if socket.exists() else 999),
        "GPU_COUNT": str(gpus),
        "GPU_SLOTS": str(max(1, gpus)),
        # so that every `docker compose` command means the same services
        "COMPOSE_PROFILES": "monitoring,gpu" if gpus else "monitoring",
        # without GPUs the one worker takes both queues
        "WORKER_QUEUES": "default" if gpus else "default,gpu",
    }


def values_in(path: Path) -> dict[str, str]:
    """Return the variables of an .env file; none when there is no file."""
    if not path.exists():
        return {}
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.removeprefix("export ").partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def weak(values: dict[str, str]) -> list[str]:
    """Return the names of secrets that are too short or well known, or that stand twice."""
    given = {name: values[name] for name in SECRETS if values.get(name)}
    twice = {value for value in given.values() if list(given.values()).count(value) > 1}
    return [name for name, value in given.items() if _too_weak(value) or value in twice]


def _too_weak(value: str) -> bool:
    return any(len(part) < SHORTEST or WEAK.match(part) for part in value.split(","))


def unusable(values: dict[str, str]) -> str | None:
    """Return what in the file would only be found out by a service that does not start."""
    for name in IN_ADDRESSES:
        if re.search(r"[^A-Za-z0-9._~-]", values.get(name, "")):
            return f"{name} stands in an address: letters, digits and . _ ~ - only"
    if key := values.get("AIRFLOW_FERNET_KEY"):
        try:
            lengths = {len(base64.urlsafe_b64decode(part)) for part in key.split(",")}
        except ValueError:
            lengths = set()
        if lengths != {FERNET_BYTES}:
            return f"AIRFLOW_FERNET_KEY must be {FERNET_BYTES} bytes in URL-safe base64 (or several, with commas)"
    for name in FOLDERS:
        if values.get(name, "/")[:1] not in {"", "/"}:
            return f"{name}={values[name]} must be a full path"
    return None


def complete(path: Path, root: Path) -> list[str]:
    """Add the missing variables to an .env file, readable by its owner alone; returns what was added.

    Raises:
        SystemExit: a secret in it is weak, or a value cannot work; nothing was written.
    """
    there = values_in(path)
    if bad := weak(there):
        sys.exit(
            f"{path}: {', '.join(bad)}: shorter than {SHORTEST} characters, well known or used twice. "
            "Remove these lines and run `make secrets` again."
        )
    if problem := unusable(there):
        sys.exit(f"{path}: {problem}. Correct the line, or remove it and run `make secrets` again.")
    wanted = {name: make() for name, make in SECRETS.items()} | places(root)
    missing = {name: value for name, value in wanted.items() if not there.get(name)}
    if missing:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = [
            line
            for line in before.splitlines()
            if line.partition("=")[0].removeprefix("export ").strip() not in missing
        ]
        _write(path, "\n".join([*kept, *(f"{name}={value}" for name, value in missing.items())]) + "\n")
    path.chmod(0o600)
    _key_file(path, values_in(path)["SERVING_KEYS"].partition(",")[0])
    return list(missing)


def _key_file(path: Path, key: str) -> None:
    """Prometheus reads the service's figures with the first key, and reads that from a file."""
    folder = path.parent / ".secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "serving_key"
    if file.exists():
        file.chmod(0o600)
    file.write_text(key, encoding="utf-8")  # into the same file: a running container has mounted just that
    file.chmod(0o444)  # Prometheus runs as a user of its own; the folder keeps others out


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".env-")  # mkstemp: readable by the owner alone
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.move(name, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--file", type=Path, default=ROOT / ".env")
    parser.add_argument("--root", type=Path, default=ROOT, help="Where workspace and backups go by default.")
    options = parser.parse_args()
    try:
        added = complete(options.file, options.root)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{options.file} could not be read or written: {error}. Nothing starts without it.")
    print(
        f"{options.file}: " + (f"added {', '.join(added)}" if added else "complete, nothing changed"), file=sys.stderr
    )
