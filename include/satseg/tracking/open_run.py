"""An open MLflow run: what a training or a drift test writes while it works."""

import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.errors import TemporaryError
from satseg.storage.layout import Workspace
from satseg.tracking.connection import client, experiment_id, mlflow_module, tracking_uri, translated_errors
from satseg.tracking.model_files import log_model
from satseg.tracking.patience import patiently

_LONGEST_PARAM = 6000


class Run:
    """An MLflow run to add to; what is logged shows at once.

    All methods raise TemporaryError when MLflow does not answer.
    """

    def __init__(self, mlflow_client: Any, run_id: str, uri: str) -> None:
        self._client = mlflow_client
        self._uri = uri
        self.id = run_id

    def describe(self, tags: Mapping[str, str], params: Mapping[str, Any], patience_s: float = 0.0) -> None:
        """Set tags and parameters, patiently."""

        def send() -> None:
            from mlflow.entities import Param, RunTag

            texts = _text_params(params)
            with translated_errors(self._uri):
                self._client.log_batch(
                    self.id,
                    params=[Param(name, text) for name, text in texts.items()],
                    tags=[RunTag(name, value) for name, value in tags.items()],
                )

        patiently(send, patience_s)

    def end(self, status: str, patience_s: float = 0.0) -> None:
        """Say how the run ended, patiently: FINISHED, FAILED or KILLED."""

        def send() -> None:
            with translated_errors(self._uri):
                self._client.set_terminated(self.id, status)

        patiently(send, patience_s)

    def log_metrics(self, metrics: Mapping[str, float], step: int, measured_at: datetime | None = None) -> None:
        """Log one value per name at a step; the same values of the same time (default: now) again change nothing."""
        from mlflow.entities import Metric

        time = int((measured_at or datetime.now(UTC)).timestamp() * 1000)
        points = [Metric(name, value, time, step) for name, value in metrics.items()]
        with translated_errors(self._uri):
            self._client.log_batch(self.id, metrics=points)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        with translated_errors(self._uri):
            for name, value in tags.items():
                self._client.set_tag(self.id, name, value)

    def log_file(self, path: Path, artifact_folder: str = "") -> None:
        """Copy a file into the run's artifacts."""
        with translated_errors(self._uri):
            self._client.log_artifact(self.id, str(path), artifact_folder or None)

    def log_folder(self, folder: Path, artifact_folder: str) -> None:
        """Copy a folder's content into the run's artifacts."""
        with translated_errors(self._uri):
            self._client.log_artifacts(self.id, str(folder), artifact_folder)

    def log_text(self, text: str, artifact_path: str) -> None:
        """Write a text into the run's artifacts."""
        with translated_errors(self._uri):
            self._client.log_text(self.id, text, artifact_path)

    def log_model_files(self, folder: Path, description: Mapping[str, Any], input_example: Any) -> None:
        """Log model.keras and model.json of `folder` as the run's MLflow model; see `model_files.log_model`."""
        with translated_errors(self._uri):
            uri = log_model(folder, description, input_example)
        self.set_tags({"satseg.model_uri": uri})


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
    patience_s: float = 0.0,
) -> Iterator[Run]:
    """Open a run of the project's experiment, or go on with `run_id`; it ends FINISHED, FAILED or KILLED.

    An exception ends it FAILED with artifact `traceback.txt`; temporary trouble and an interruption (SIGTERM, Ctrl-C)
    end it KILLED, because the next try goes on with it. At the start and the end MLflow is asked again for
    `patience_s` while it does not answer.

    Raises:
        TemporaryError: MLflow does not answer.
    """
    mlflow = mlflow_module()
    uri = tracking_uri(workspace)
    run = patiently(lambda: _open(workspace, project_name, name, run_id), patience_s)
    status = "FINISHED"
    try:
        with translated_errors(uri):
            run.describe(tags, params, patience_s)
            yield run
    except (TemporaryError, KeyboardInterrupt):
        status = "KILLED"
        raise
    except BaseException:
        status = "FAILED"
        with suppress(Exception):  # the first error is the one to report
            run.log_text(traceback.format_exc(), "traceback.txt")
        raise
    finally:
        _end(mlflow, run, status, patience_s)


def _open(workspace: Workspace, project_name: str, name: str, run_id: str | None) -> Run:
    mlflow = mlflow_module()
    with client(workspace) as mlflow_client:
        experiment = experiment_id(mlflow_client, workspace, project_name)
        named: dict[str, str] = {"run_id": run_id} if run_id else {"run_name": name}
        opened = mlflow.start_run(experiment_id=experiment, log_system_metrics=True, **named)
        return Run(mlflow_client, opened.info.run_id, tracking_uri(workspace))


def _end(mlflow: Any, run: Run, status: str, patience_s: float) -> None:
    with suppress(Exception):  # it stops the system metrics; how the run ended is said below, with patience
        mlflow.end_run(status)
    if status == "FINISHED":
        run.end(status, patience_s)
    else:
        with suppress(Exception):  # an error is already on its way up
            run.end(status)


def created_run(workspace: Workspace, project_name: str, *, name: str, tags: Mapping[str, str]) -> str:
    """Make a run that no process works in, such as the parent of a search's trials, and return its id.

    Raises:
        TemporaryError: MLflow does not answer.
    """

    def create() -> str:
        with client(workspace) as mlflow_client:
            experiment = experiment_id(mlflow_client, workspace, project_name)
            return str(mlflow_client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id)

    return patiently(create)
