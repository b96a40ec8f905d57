"""What `satseg doctor` looks at around the machine: project files, secrets, Docker, MLflow, the DVC remote."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from satseg.cli.finding import Finding
from satseg.config.project import load_project, project_files
from satseg.config.settings import Settings
from satseg.errors import ConfigurationError

ANSWER_WITHIN_S = 3.0
ENV_FILE = Path(".env")
DOCKER_SOCKET = "unix:///var/run/docker.sock"


def projects(where: Settings) -> Finding:
    """There are project files, and each is right."""
    found = project_files(where.projects_dir) if where.projects_dir.is_dir() else {}
    if not found:
        mend = "Set SATSEG_PROJECTS_DIR, or write one: include/projects/buildings.yaml shows how."
        return Finding("project files", "missing", f"none in {where.projects_dir}", mend)
    for name in found:
        try:
            load_project(name, where.projects_dir)
        except ConfigurationError as error:
            return Finding("project files", "missing", str(error), f"Correct {found[name]}.")
    return Finding("project files", "ok", ", ".join(found))


def secrets() -> Finding:
    """A file with secrets is for its owner alone."""
    if not ENV_FILE.is_file():
        return Finding(".env", "ok", "none: the defaults hold")
    if ENV_FILE.stat().st_mode & 0o077:
        return Finding(".env", "note", f"{ENV_FILE.resolve()} can be read by others", f"chmod 600 {ENV_FILE.resolve()}")
    return Finding(".env", "ok", str(ENV_FILE.resolve()))


def docker(where: Settings) -> Finding:
    """An engine answers; needed only when stages run in containers."""
    url = str(getattr(where, "docker_url", DOCKER_SOCKET))
    needed = str(where.runner) == "docker"
    mend = "Start it (systemctl start docker) and join its group, or set SATSEG_DOCKER_URL."
    if url.startswith("unix://"):
        transport, address = httpx.HTTPTransport(uds=url.removeprefix("unix://")), "http://docker"
    else:
        transport, address = httpx.HTTPTransport(), url.replace("tcp://", "http://")
    try:
        with httpx.Client(transport=transport, timeout=ANSWER_WITHIN_S, trust_env=False) as client:
            answer = client.get(f"{address}/version").raise_for_status().json()
        return Finding("Docker", "ok", f"{answer.get('Version', '?')} at {url}")
    except (httpx.HTTPError, ValueError) as error:
        if needed:
            return Finding("Docker", "missing", f"SATSEG_RUNNER is docker, and {url} does not answer ({error})", mend)
        return Finding("Docker", "note", "no engine: stages run as processes, which is the default", mend)


def mlflow(where: Settings) -> Finding:
    """The tracking server answers, or the embedded database stands in the workspace."""
    if where.mlflow_uri is None or not where.mlflow_uri.startswith(("http://", "https://")):
        return Finding("MLflow", "ok", where.mlflow_uri or "embedded, in the workspace")
    mend = "Start the server, or correct SATSEG_MLFLOW_URI."
    try:
        answer = httpx.get(f"{where.mlflow_uri.rstrip('/')}/health", timeout=ANSWER_WITHIN_S)
    except httpx.HTTPError as error:
        return Finding("MLflow", "missing", f"{where.mlflow_uri} does not answer ({error})", mend)
    if answer.is_success:
        return Finding("MLflow", "ok", where.mlflow_uri)
    return Finding("MLflow", "missing", f"{where.mlflow_uri} answers with {answer.status_code}", mend)


def dvc_remote(where: Settings) -> Finding:
    """Dataset versions have a second home that can be reached."""
    remote = where.dvc_remote
    if remote is None:
        mend = "Set SATSEG_DVC_REMOTE to a folder on another disk, or s3://bucket/path."
        return Finding("DVC remote", "note", "none: dataset versions are only in the workspace", mend)
    if "://" not in remote:
        there = Path(remote)
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return Finding("DVC remote", "ok", remote)
        return Finding(
            "DVC remote", "missing", f"{remote} is no folder to write to", f"mkdir -p {remote}, or mount it."
        )
    return _s3(where, remote)


def _s3(where: Settings, remote: str) -> Finding:
    if not os.environ.get("AWS_ACCESS_KEY_ID") and not (Path.home() / ".aws").is_dir():
        return Finding(
            "DVC remote", "missing", f"{remote}, but no keys", "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY."
        )
    if where.dvc_endpoint_url is None:
        return Finding("DVC remote", "ok", remote)
    address = urlsplit(where.dvc_endpoint_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=ANSWER_WITHIN_S).close()
    except OSError as error:
        mend = "Start the store, or correct SATSEG_DVC_ENDPOINT_URL."
        return Finding("DVC remote", "missing", f"{where.dvc_endpoint_url} does not answer ({error})", mend)
    return Finding("DVC remote", "ok", f"{remote} at {where.dvc_endpoint_url}")
