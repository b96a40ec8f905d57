"""How satseg reaches MLflow: address, quiet start, and its errors in satseg's words."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from satseg.config.settings import settings
from satseg.errors import BadDataError, ConfigurationError, SatsegError, TemporaryError
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace

_SQLITE = "sqlite:///"
READY_FILE = ".ready"  # beside an embedded database that has been made
_TRY_AGAIN = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "IO_ERROR", "ABORTED"}
_NO_ACCESS = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}
NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}


def tracking_uri(workspace: Workspace) -> str:
    """Return the MLflow tracking URI: the configured server, or a SQLite file in the workspace."""
    return settings().mlflow_uri or f"{_SQLITE}{_embedded(workspace)}"


def _embedded(workspace: Workspace) -> Path:
    return workspace.mlflow / "mlflow.db"


def _lost(workspace: Workspace, uri: str) -> str | None:
    path = _embedded(workspace)
    if uri != f"{_SQLITE}{path}" or path.exists() or not (workspace.mlflow / READY_FILE).exists():
        return None
    return (
        f"MLflow's database {path} is gone, and with it the registered models. Restore it from a backup; to begin "
        f"without any model, remove {READY_FILE} in the workspace's mlflow/."
    )


def _quiet() -> None:
    defaults = {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing leaves the organisation's machines
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def mlflow_module() -> Any:
    """Import MLflow with its chatter switched off."""
    _quiet()
    import mlflow

    _quiet()  # importing MLflow sets its own log levels
    return mlflow


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Turn "MLflow cannot be reached" and "MLflow lets nobody in" into errors of satseg.

    Raises:
        TemporaryError: the server or its database does not answer.
        ConfigurationError: access is denied.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except MlflowException as error:
        if error.error_code in _NO_ACCESS:
            raise ConfigurationError(
                f"MLflow at {uri} denies access: {error}. Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            ) from error
        if error.error_code in _TRY_AGAIN:
            raise _unreachable(uri, error) from error
        raise
    except (RequestException, DatabaseError) as error:
        raise _unreachable(uri, error) from error


def _unreachable(uri: str, error: Exception) -> SatsegError:
    reason = str(error).splitlines()[0][:300]
    return TemporaryError(
        f"MLflow at {uri} does not answer: {reason}. "
        "Start the server or correct SATSEG_MLFLOW_URI, then run this again."
    )


@contextmanager
def client(workspace: Workspace) -> Iterator[Any]:
    """Yield an `MlflowClient`; a new embedded database is made by one process at a time.

    Raises:
        TemporaryError: MLflow does not answer.
        BadDataError: the embedded database was there once and is gone; an empty one would hide that.
    """
    uri = tracking_uri(workspace)
    # parts of MLflow ask the global address, whatever the client was given: registering a version is one
    mlflow_module().set_tracking_uri(uri)
    from mlflow import MlflowClient

    marker = workspace.mlflow / READY_FILE
    if lost := _lost(workspace, uri):
        raise BadDataError(lost)
    if uri.startswith("sqlite:") and not marker.exists():
        with exclusive(workspace.lock("mlflow"), "MLflow's database"), translated_errors(uri):
            workspace.mlflow.mkdir(parents=True, exist_ok=True)
            MlflowClient(uri).search_experiments(max_results=1)
            marker.touch()
    with translated_errors(uri):
        yield MlflowClient(uri)


def why_unreachable(workspace: Workspace, timeout_s: float = 3.0) -> str | None:
    """Return in one line why MLflow does not answer, None when it does; quick, and without importing MLflow.

    An embedded database that has not been made yet is no trouble.
    """
    uri = tracking_uri(workspace)
    if uri.startswith(_SQLITE):
        return _lost(workspace, uri) or _database_trouble(uri.removeprefix(_SQLITE))
    if not uri.startswith("http"):
        return None
    from urllib.request import urlopen

    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=timeout_s):  # noqa: S310 - http or https
            return None
    except OSError as error:
        return f"MLflow at {uri} does not answer: {error}"


def _database_trouble(path: str) -> str | None:
    import sqlite3

    if not Path(path).exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=3.0)) as database:
            database.execute("select count(*) from experiments")
    except sqlite3.Error as error:
        return f"MLflow's database {path} does not answer: {error}"
    return None


def experiment_id(mlflow_client: Any, workspace: Workspace, project_name: str) -> str:
    """Return the id of the project's experiment; make or restore it where needed."""
    from mlflow.exceptions import MlflowException

    found = mlflow_client.get_experiment_by_name(project_name)
    if found is None:
        embedded = settings().mlflow_uri is None
        location = (workspace.mlflow / "artifacts" / project_name).as_uri() if embedded else None
        try:
            return str(mlflow_client.create_experiment(project_name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = mlflow_client.get_experiment_by_name(project_name)
    if found.lifecycle_stage == "deleted":
        mlflow_client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
