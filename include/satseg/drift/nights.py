"""The nights of a project on disk: names, profiles and reports."""

import re
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.stages import DriftResult
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace

PROFILE_FILE = "profile.parquet"
PREDICTIONS_FILE = "predictions.parquet"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")


def check_night(night: str) -> str:
    """Return the night if it is a calendar date written YYYY-MM-DD.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        if not _NIGHT.fullmatch(night):
            raise ValueError("not of the form YYYY-MM-DD")
        date.fromisoformat(night)
    except ValueError as error:
        raise ConfigurationError(
            f"Night {night!r} is not a date ({error}). Write it as YYYY-MM-DD, for example 2026-03-31."
        ) from error
    return night


def scene_profiles(workspace: Workspace, project: str, night: str) -> Path:
    """Return the folder with one profile per scene of a night."""
    return workspace.drift_night(project, check_night(night)) / "scenes"


def tested_nights(workspace: Workspace, project: str) -> list[str]:
    """Return the nights that have a report, oldest first."""
    folder = workspace.drift(project)
    if not folder.is_dir():
        return []
    return sorted(
        path.name for path in folder.iterdir() if _NIGHT.fullmatch(path.name) and (path / REPORT_FILE).is_file()
    )


def read_report(workspace: Workspace, project: str, night: str) -> DriftResult:
    """Read the result of a tested night.

    Raises:
        NotFoundError: the night has not been tested; the message names the latest that have.
        BadDataError: the file is damaged.
    """
    path = workspace.drift_night(project, check_night(night)) / REPORT_FILE
    if not path.is_file():
        known = ", ".join(tested_nights(workspace, project)[-5:]) or "none"
        raise NotFoundError(
            f"Night {night} of {project} has not been tested (latest tested: {known}). "
            f"Run `satseg drift test --night {night}` first."
        )
    try:
        return DriftResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadDataError(
            f"{path} is not a drift report ({type(error).__name__}). Run `satseg drift test --night {night}` again."
        ) from error


def write_report(workspace: Workspace, project: str, result: DriftResult) -> None:
    """Write the result of a night atomically."""
    write_json(workspace.drift_night(project, check_night(result.night)) / REPORT_FILE, result.model_dump(mode="json"))
