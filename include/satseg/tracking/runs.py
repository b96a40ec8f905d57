"""MLflow runs: one is open while a training works, all can be read and added to."""

import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.errors import InterruptedRunError, NotFoundError, SatsegError
from satseg.storage.layout import Workspace
from satseg.tracking.connection import NOT_THERE, client, experiment_id, mlflow_module, tracking_uri, translated_errors
from satseg.tracking.model_files import log_model

__all__ = ["Run", "RunRecord", "find_runs", "get_run", "log_to_run", "tracked_run", "tracking_uri"]

_SEARCH_PAGE = 1000
_LONGEST_PARAM = 6000


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


class Run:
    """An open MLflow run; what is logged shows at once."""

    def __init__(self, mlflow_client: Any, run_id: str) -> None:
        self._client = mlflow_client
        self.id = run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one value per name at a step."""
        from mlflow.entities import Metric

        now = int(datetime.now(UTC).timestamp() * 1000)
        self._client.log_batch(self.id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        for name, value in tags.items():
            self._client.set_tag(self.id, name, value)

    def log_file(self, path: Path, artifact_folder: str = "") -> None:
        """Copy a file into the run's artifacts."""
        self._client.log_artifact(self.id, str(path), artifact_folder or None)

    def log_text(self, text: str, artifact_path: str) -> None:
        """Write a text into the run's artifacts."""
        self._client.log_text(self.id, text, artifact_path)

    def log_model_files(self, folder: Path, description: Mapping[str, Any], input_example: Any) -> None:
        """Log model.keras and model.json of `folder` as the run's MLflow model; see `model_files.log_model`."""
        self.set_tags({"satseg.model_uri": log_model(folder, description, input_example)})


def _text_params(params: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in params.items()
    }
    return {name: text[:_LONGEST_PARAM] for name, text in texts.items()}


@contextmanager
def tracked_run(
    workspace: Workspace,
    project_name: str,
    *,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    run_id: str | None = None,
) -> Iterator[Run]:
    """Open a run of the project's experiment, or go on with `run_id`; it ends FINISHED, FAILED or KILLED.

    An exception ends it FAILED with artifact `traceback.txt`; an interruption (SIGTERM, Ctrl-C) ends it KILLED.

    Raises:
        TemporaryError: MLflow does not answer.
    """
    mlflow = mlflow_module()
    uri = tracking_uri(workspace)
    with client(workspace) as mlflow_client:
        mlflow.set_tracking_uri(uri)
        experiment = experiment_id(mlflow_client, workspace, project_name)
        named: dict[str, str] = {"run_id": run_id} if run_id else {"run_name": name}
        opened = mlflow.start_run(experiment_id=experiment, log_system_metrics=True, **named)
        run = Run(mlflow_client, opened.info.run_id)
    status = "FINISHED"
    try:
        with translated_errors(uri):
            run.set_tags(tags)
            mlflow.log_params(_text_params(params))
            yield run
    except (InterruptedRunError, KeyboardInterrupt):
        status = "KILLED"
        raise
    except BaseException:
        status = "FAILED"
        with suppress(Exception):  # the first error is the one to report
            run.log_text(traceback.format_exc(), "traceback.txt")
        raise
    finally:
        _end(mlflow, uri, status)


def _end(mlflow: Any, uri: str, status: str) -> None:
    if status == "FINISHED":
        with translated_errors(uri):
            mlflow.end_run(status)
    else:
        with suppress(Exception):  # an error is already on its way up
            mlflow.end_run(status)


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
        run = Run(mlflow_client, run_id)
        if metrics:
            run.log_metrics(metrics, step=0)
        run.set_tags(tags or {})
        for path, folder in (files or {}).items():
            run.log_file(path, folder)


def close_abandoned_run(workspace: Workspace, run_id: str) -> None:
    """Mark a run whose process died as KILLED; nothing happens when it is gone or has ended."""
    with suppress(SatsegError):
        if get_run(workspace, run_id).status == "RUNNING":
            with client(workspace) as mlflow_client:
                mlflow_client.set_terminated(run_id, "KILLED")
