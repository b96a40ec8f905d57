"""Addresses of MLflow's own pages, where it is a server that people can open."""

import json
from urllib.parse import quote

from satseg.config.settings import settings
from satseg_ui.project_files import workspace


def mlflow_server() -> str | None:
    """Return the address of MLflow: as configured, or of the one that `make up` started; None without a server."""
    configured = settings().mlflow_uri
    if configured is not None:
        return configured.rstrip("/") if configured.startswith("http") else None
    try:
        started = json.loads((workspace().airflow / "up.json").read_text(encoding="utf-8"))
        return str(started["mlflow"]).rstrip("/")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def model_page(project: str) -> str | None:
    """Return the page of a project's registered model."""
    server = mlflow_server()
    return None if server is None else f"{server}/#/models/{quote(project, safe='')}"


def version_page(project: str, version: str) -> str | None:
    """Return the page of a model version."""
    page = model_page(project)
    return None if page is None else f"{page}/versions/{quote(version, safe='')}"


def run_page(experiment: str | None, run_id: str) -> str | None:
    """Return the page of a run."""
    server = mlflow_server()
    if server is None or experiment is None:
        return None
    return f"{server}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run_id, safe='')}"
