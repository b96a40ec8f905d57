"""The project files as the DAG files see them: a broken one is reported once and does not hide the others."""

from satseg.config.project import ProjectConfig, load_project, project_files
from satseg.config.settings import settings
from satseg.errors import ConfigurationError


def _load_all() -> tuple[list[ProjectConfig], dict[str, str]]:
    folder = settings().projects_dir
    good: list[ProjectConfig] = []
    broken: dict[str, str] = {}
    for name, path in project_files(folder).items():
        try:
            good.append(load_project(name, folder))
        except ConfigurationError as error:
            broken[str(path)] = str(error)
    return good, broken


def projects() -> list[ProjectConfig]:
    """Return the projects whose file is right, sorted by name."""
    return _load_all()[0]


def check_project_files() -> None:
    """Complain about broken project files.

    Raises:
        ConfigurationError: names every broken file and what is wrong in it.
    """
    if broken := _load_all()[1]:
        lines = [error if path in error else f"{path}: {error}" for path, error in broken.items()]
        raise ConfigurationError("No DAGs are made for these project files:\n" + "\n".join(lines))
