"""Project files and the workspace, as the routes see them."""

from pathlib import Path

from satseg.config.project import ProjectConfig, load_project, project_files
from satseg.config.settings import settings
from satseg.errors import ConfigurationError, NotFoundError
from satseg.storage.layout import Workspace
from satseg_ui.remembered import remembered_by_file


def workspace() -> Workspace:
    """Return the workspace of this server."""
    return Workspace(settings().workspace)


@remembered_by_file
def _read(path: Path) -> ProjectConfig | str:
    try:
        return load_project(path.stem, path.parent)
    except ConfigurationError as error:
        return str(error)


def _loaded(path: Path) -> ProjectConfig | str:
    try:
        return _read(path)
    except OSError as error:  # a link that leads nowhere, or a file removed this moment
        return f"Project file {path} cannot be read: {error}"


def known_project(name: str) -> ProjectConfig:
    """Return a project by its name alone: a path is none.

    Raises:
        NotFoundError: there is no such project.
        ConfigurationError: its file is wrong.
    """
    path = project_files(settings().projects_dir).get(name)
    if path is None:
        raise NotFoundError(f"There is no project '{name}'.")
    loaded = _loaded(path)
    if isinstance(loaded, str):
        raise ConfigurationError(loaded)
    return loaded


def all_projects() -> dict[str, ProjectConfig | str]:
    """Return the projects by name; for one with a wrong file what is wrong in it."""
    return {name: _loaded(path) for name, path in project_files(settings().projects_dir).items()}
