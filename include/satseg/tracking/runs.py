"""MLflow runs: one is open while a training works, all can be read and added to."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from satseg.errors import NotFoundError, SatsegError
from satseg.storage.layout import Workspace
from satseg.tracking.connection import NOT_THERE, client, mlflow_module, tracking_uri
from satseg.tracking.open_run import Run, tracked_run

__all__ = [
    "MetricPoint",
    "Run",
    "RunRecord",
    "close_abandoned_run",
    "find_runs",
    "finish_run",
    "get_run",
    "log_to_run",
    "metric_history",
    "read_artifact",
    "run_url",
    "tracked_run",
    "tracking_uri",
]

_SEARCH_PAGE = 1000


class MetricPoint(NamedTuple):
    """One value of a metric."""

    step: int
    value: float
    time: datetime


@dataclass(frozen=True)
class RunRecord:
    """What MLflow knows of a run."""

    id: str
    name: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started_at: datetime
    ended_at: datetime | None
    artifact_uri: str
    experiment: str | None = None


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _record(run: Any) -> RunRecord:
    started = _time(run.info.start_time)
    assert started is not None
    return RunRecord(
        id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        started_at=started,
        ended_at=_time(run.info.end_time),
        artifact_uri=run.info.artifact_uri,
        experiment=run.info.experiment_id,
    )


def get_run(workspace: Workspace, run_id: str) -> RunRecord:
    """Return one run.

    Raises:
        NotFoundError: there is no such run, or it is deleted.
    """
    with client(workspace) as mlflow_client:
        from mlflow.exceptions import MlflowException

        try:
            run = mlflow_client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in NOT_THERE:
                raise
            run = None
    if run is None or run.info.lifecycle_stage == "deleted":
        raise NotFoundError(f"No MLflow run '{run_id}' at {tracking_uri(workspace)}. `satseg models list` shows runs.")
    return _record(run)


def metric_history(workspace: Workspace, run_id: str, names: Sequence[str]) -> dict[str, list[MetricPoint]]:
    """Return every value that was logged of some metrics, in the order they were logged.

    Raises:
        NotFoundError: there is no such run.
    """
    get_run(workspace, run_id)
    with client(workspace) as mlflow_client:
        histories = {name: mlflow_client.get_metric_history(run_id, name) for name in names}
    return {
        name: [
            MetricPoint(point.step, point.value, datetime.fromtimestamp(point.timestamp / 1000, UTC))
            for point in points
        ]
        for name, points in histories.items()
    }


def find_runs(workspace: Workspace, project_name: str, tags: Mapping[str, str] | None = None) -> list[RunRecord]:
    """Return the project's runs that have all these tags, newest first."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in (tags or {}).items())
    with client(workspace) as mlflow_client:
        experiment = mlflow_client.get_experiment_by_name(project_name)
        if experiment is None:
            return []
        runs: list[Any] = []
        token: str | None = None
        while True:
            page = mlflow_client.search_runs(
                [experiment.experiment_id],
                wanted,
                max_results=_SEARCH_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return [_record(run) for run in runs]


def run_url(workspace: Workspace, run_id: str) -> str | None:
    """Return the address of a run's page; None where MLflow is no server."""
    server = tracking_uri(workspace)
    if not server.startswith("http"):
        return None
    with client(workspace) as mlflow_client:
        experiment = mlflow_client.get_run(run_id).info.experiment_id
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def read_artifact(workspace: Workspace, run_id: str, path: str) -> str:
    """Return a text of a run's artifacts.

    Raises:
        NotFoundError: there is no such run or file.
    """
    record = get_run(workspace, run_id)
    mlflow = mlflow_module()
    with client(workspace):
        try:
            text = mlflow.artifacts.load_text(f"{record.artifact_uri.rstrip('/')}/{path}")
        except (OSError, mlflow.exceptions.MlflowException) as error:
            raise NotFoundError(f"Run {run_id} has no file '{path}' in MLflow: {error}") from error
    return str(text)


def log_to_run(
    workspace: Workspace,
    run_id: str,
    *,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    files: Mapping[Path, str] | None = None,
) -> None:
    """Add metrics, tags and files (path to artifact folder) to a run that has ended.

    Raises:
        NotFoundError: there is no such run.
    """
    get_run(workspace, run_id)
    with client(workspace) as mlflow_client:
        run = Run(mlflow_client, run_id, tracking_uri(workspace))
        if metrics:
            run.log_metrics(metrics, step=0)
        run.set_tags(tags or {})
        for path, folder in (files or {}).items():
            run.log_file(path, folder)


def finish_run(
    workspace: Workspace,
    run_id: str,
    *,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[Path, str],
) -> None:
    """Add the last metrics, tags and files to a run and end it FINISHED.

    Raises:
        NotFoundError: there is no such run.
        TemporaryError: MLflow does not answer.
    """
    log_to_run(workspace, run_id, metrics=metrics, tags=tags, files=files)
    with client(workspace) as mlflow_client:
        mlflow_client.set_terminated(run_id, "FINISHED")


def close_abandoned_run(workspace: Workspace, run_id: str) -> None:
    """Mark a run whose process died as KILLED; nothing happens when it is gone or has ended."""
    with suppress(SatsegError):
        if get_run(workspace, run_id).status == "RUNNING":
            with client(workspace) as mlflow_client:
                mlflow_client.set_terminated(run_id, "KILLED")
