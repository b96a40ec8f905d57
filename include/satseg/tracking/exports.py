"""Files made of a registered version for other engines: kept with its run, and named by a tag of the version."""

from pathlib import Path

from satseg.storage.atomic import replacing_directory
from satseg.storage.layout import Workspace
from satseg.tracking.connection import client, mlflow_module, tracking_uri
from satseg.tracking.models import set_version_tags, versions
from satseg.tracking.open_run import Run
from satseg.tracking.runs import get_run

_TAG = "satseg.export."


def store_files(workspace: Workspace, run_id: str, folder: Path, artifact_folder: str) -> None:
    """Copy the files of a folder into a folder of the run's artifacts.

    Raises:
        NotFoundError: there is no such run.
        TemporaryError: MLflow does not answer.
    """
    get_run(workspace, run_id)
    with client(workspace) as mlflow_client:
        Run(mlflow_client, run_id, tracking_uri(workspace)).log_folder(folder, artifact_folder)


def stored_files(workspace: Workspace, run_id: str, artifact_folder: str) -> Path | None:
    """Return a local folder with those files, None when there are none; artifacts on this machine are not copied.

    Raises:
        NotFoundError: there is no such run.
        TemporaryError: MLflow does not answer.
    """
    location = get_run(workspace, run_id).artifact_uri
    mlflow = mlflow_module()
    with client(workspace) as mlflow_client:
        if not mlflow_client.list_artifacts(run_id, artifact_folder):
            return None
        uri = f"{location.rstrip('/')}/{artifact_folder}"
        if location.startswith(("file:", "/")):
            return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=tracking_uri(workspace)))
        cached = workspace.mlflow / "downloads" / run_id / artifact_folder
        if not cached.is_dir():
            with replacing_directory(cached) as temp:
                found = mlflow.artifacts.download_artifacts(
                    uri, dst_path=str(temp / "whole"), tracking_uri=tracking_uri(workspace)
                )
                for file in Path(found).iterdir():
                    file.replace(temp / file.name)
        return cached


def export_tags(workspace: Workspace, project_name: str, version: str) -> dict[str, str]:
    """Return what a version is marked with: kind of export to the artifact folder that holds it."""
    for record in versions(workspace, project_name):
        if record.version == version:
            return {
                name.removeprefix(_TAG): value for name, value in record.tags.items() if name.startswith(_TAG) and value
            }
    return {}


def set_export_tag(workspace: Workspace, project_name: str, version: str, kind: str, artifact_folder: str) -> None:
    """Mark a version as exported."""
    set_version_tags(workspace, project_name, version, {_TAG + kind: artifact_folder})


def remove_export_tag(workspace: Workspace, project_name: str, version: str, kind: str) -> None:
    """Take the mark off a version; nothing happens when it has none."""
    if kind in export_tags(workspace, project_name, version):
        with client(workspace) as mlflow_client:
            mlflow_client.delete_model_version_tag(project_name, version, _TAG + kind)
