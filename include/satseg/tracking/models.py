"""The registered model of a project: its versions and aliases, and the files behind a reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.errors import BadDataError, NotFoundError
from satseg.storage.atomic import replacing_directory
from satseg.storage.layout import Workspace
from satseg.tracking.connection import NOT_THERE, client, mlflow_module, tracking_uri
from satseg.tracking.model_files import MODEL_FILE
from satseg.tracking.runs import find_runs, get_run

_VERSION = re.compile(r"v?(\d{1,9})")
_RUN_ID = re.compile(r"[0-9a-f]{8,32}")
_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/]+))")


@dataclass(frozen=True)
class ModelRef:
    """A model that exists: a run, and its version when it is registered."""

    run_id: str
    version: str | None
    aliases: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name for folders and people: `v3`, or the first 12 digits of the run id."""
        return f"v{self.version}" if self.version else self.run_id[:12]


@dataclass(frozen=True)
class VersionRecord:
    """One version of a registered model."""

    version: str
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    created_at: datetime
    description: str

    @property
    def ref(self) -> ModelRef:
        """The same as a reference."""
        return ModelRef(self.run_id, self.version, self.aliases)


def _aliases(mlflow_client: Any, model_name: str) -> dict[str, str] | None:
    from mlflow.exceptions import MlflowException

    try:
        registered = mlflow_client.get_registered_model(model_name)
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return None
    return {alias: str(version) for alias, version in registered.aliases.items()}


def versions(workspace: Workspace, project_name: str) -> list[VersionRecord]:
    """Return the versions of the project's registered model, oldest first; none when nothing is registered."""
    with client(workspace) as mlflow_client:
        by_alias = _aliases(mlflow_client, project_name)
        if by_alias is None:
            return []
        found: list[Any] = []
        token: str | None = None
        while True:
            page = mlflow_client.search_model_versions(f"name='{project_name}'", page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                break
    records = [
        VersionRecord(
            version=str(item.version),
            run_id=item.run_id or "",
            aliases=tuple(sorted(alias for alias, version in by_alias.items() if version == str(item.version))),
            tags=dict(item.tags),
            created_at=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC),
            description=item.description or "",
        )
        for item in found
    ]
    return sorted(records, key=lambda record: int(record.version))


def alias_version(workspace: Workspace, project_name: str, alias: str) -> str | None:
    """Return the version number an alias points to, None when it is not set."""
    with client(workspace) as mlflow_client:
        return (_aliases(mlflow_client, project_name) or {}).get(alias)


def _by_run(workspace: Workspace, project_name: str, reference: str, known: list[VersionRecord]) -> ModelRef | None:
    if len(reference) == 32:
        run_ids = [get_run(workspace, reference).id]
    else:
        run_ids = [run.id for run in find_runs(workspace, project_name) if run.id.startswith(reference)]
    if len(run_ids) > 1:
        raise NotFoundError(f"Run '{reference}' is not unique: {', '.join(run_ids[:5])}. Give more digits.")
    if not run_ids:
        return None
    registered = [record for record in known if record.run_id == run_ids[0]]
    return registered[-1].ref if registered else ModelRef(run_ids[0], None, ())


def resolve_model(workspace: Workspace, project_name: str, reference: str) -> ModelRef:
    """Find a model by alias ("champion"), version ("3", "v3"), run id (or its first 8+ digits) or models:/ URI.

    Raises:
        NotFoundError: nothing has that name; the message lists what there is.
    """
    model_name, wanted = project_name, reference.strip()
    if wanted.startswith("models:/"):
        parts = _MODEL_URI.fullmatch(wanted)
        if parts is None:
            raise NotFoundError(f"'{reference}' is not a model URI; write models:/NAME/3 or models:/NAME@champion.")
        model_name, wanted = parts["name"], parts["version"] or parts["alias"]
    known = versions(workspace, model_name)
    number = _VERSION.fullmatch(wanted)
    for record in known:
        if wanted in record.aliases or (number and record.version == str(int(number[1]))):
            return record.ref
    if _RUN_ID.fullmatch(wanted):  # eight digits may be the beginning of a run id as well
        found = _by_run(workspace, project_name, wanted, known)
        if found is not None:
            return found
    raise NotFoundError(f"No model '{reference}' in project '{model_name}'. {_what_there_is(known)}")


def _what_there_is(known: list[VersionRecord]) -> str:
    if not known:
        return "Nothing is registered yet: run `satseg train`, `satseg evaluate` and `satseg register` first."
    named = [f"{record.ref.label}{''.join(' @' + alias for alias in record.aliases)}" for record in known[-20:]]
    return f"There are: {', '.join(named)}; a run id works too."


def model_folder(workspace: Workspace, ref: ModelRef) -> Path:
    """Return a local folder with model.keras and model.json; artifacts on this machine are not copied.

    Raises:
        BadDataError: the run has no model, or its files are gone.
        NotFoundError: the run does not exist.
    """
    uri = get_run(workspace, ref.run_id).tags.get("satseg.model_uri")
    if uri is None:
        raise BadDataError(f"Run {ref.run_id} has no model: it did not end well. Run `satseg train` again.")
    folder = _download(workspace, uri) / "artifacts"
    if not (folder / MODEL_FILE).is_file():
        raise BadDataError(f"The model files of run {ref.run_id} are missing in {folder}. Train it again.")
    return folder


def _download(workspace: Workspace, uri: str) -> Path:
    mlflow = mlflow_module()
    cached = workspace.mlflow / "downloads" / uri.removeprefix("models:/")
    if cached.is_dir():
        return cached
    with client(workspace) as mlflow_client:
        location = str(mlflow_client.get_logged_model(uri.removeprefix("models:/")).artifact_location)
        if location.startswith(("file:", "/")):
            return Path(mlflow.artifacts.download_artifacts(location, tracking_uri=tracking_uri(workspace)))
        with replacing_directory(cached) as temp:
            mlflow.artifacts.download_artifacts(uri, dst_path=str(temp), tracking_uri=tracking_uri(workspace))
    return cached


def create_version(
    workspace: Workspace, project_name: str, run_id: str, tags: Mapping[str, str], description: str
) -> str:
    """Register a run's model as a new version and return its number.

    Raises:
        BadDataError: the run has no model.
        NotFoundError: the run does not exist.
    """
    from mlflow.exceptions import MlflowException

    uri = get_run(workspace, run_id).tags.get("satseg.model_uri")
    if uri is None:
        raise BadDataError(f"Run {run_id} has no model to register: it did not end well. Run `satseg train` again.")
    with client(workspace) as mlflow_client:
        if _aliases(mlflow_client, project_name) is None:
            try:
                mlflow_client.create_registered_model(project_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        made = mlflow_client.create_model_version(
            project_name,
            source=uri,
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=uri.removeprefix("models:/"),
        )
    return str(made.version)


def set_description(workspace: Workspace, project_name: str, version: str, description: str) -> None:
    """Replace the description of a version."""
    with client(workspace) as mlflow_client:
        mlflow_client.update_model_version(project_name, version, description)


def set_alias(workspace: Workspace, project_name: str, alias: str, version: str) -> None:
    """Point an alias at a version; a single database transaction."""
    with client(workspace) as mlflow_client:
        mlflow_client.set_registered_model_alias(project_name, alias, version)


def delete_alias(workspace: Workspace, project_name: str, alias: str) -> None:
    """Remove an alias; nothing happens when it is not set."""
    if alias_version(workspace, project_name, alias) is not None:
        with client(workspace) as mlflow_client:
            mlflow_client.delete_registered_model_alias(project_name, alias)


def set_version_tags(workspace: Workspace, project_name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set or replace tags of a version."""
    with client(workspace) as mlflow_client:
        for name, value in tags.items():
            mlflow_client.set_model_version_tag(project_name, version, name, value)
