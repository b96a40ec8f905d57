"""Selections on disk: a folder each, with selection.json written last."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.errors import BadDataError, NotFoundError
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace

SELECTION_FILE = "selection.json"
COLLECTED_FILE = "collected.json"


class SelectedWindow(BaseModel):
    """A window to label; `name` is the stem of its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scene: str
    checksum: str
    row: int
    col: int
    height: int
    width: int
    uncertainty: float
    polygons: int


class SelectionRecord(BaseModel):
    """What was selected, from what, by which model; windows are in the order of their worth."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    schema_version: Literal[1] = 1
    name: str
    project: str
    model: str
    run_id: str
    dataset_version: str
    created: datetime
    budget: int
    scenes: tuple[str, ...]
    candidates: int
    windows: tuple[SelectedWindow, ...]


def read_selection(folder: Path) -> SelectionRecord | None:
    """Read a finished selection; None when there is none.

    Raises:
        BadDataError: the file is damaged.
    """
    path = folder / SELECTION_FILE
    if not path.is_file():
        return None
    try:
        return SelectionRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path} is no selection ({type(error).__name__}). Run `satseg select --force`.") from error


def write_selection(folder: Path, record: SelectionRecord) -> None:
    """Write the record of a selection; it marks the folder as finished."""
    write_json(folder / SELECTION_FILE, record.model_dump(mode="json"))


def find_selection(workspace: Workspace, project: str, name: str) -> SelectionRecord:
    """Return a finished selection by its name.

    Raises:
        NotFoundError: there is none; the message names those there are.
    """
    if (record := read_selection(workspace.selection(project, name))) is not None:
        return record
    there = ", ".join(selection.name for selection in selections(workspace, project)) or "none"
    raise NotFoundError(f"{project} has no selection '{name}' (there are: {there}). Run `satseg select --budget N`.")


def selections(workspace: Workspace, project: str) -> list[SelectionRecord]:
    """Return all finished selections of a project, the oldest first."""
    folder = workspace.selections(project)
    found = [read_selection(path) for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted((record for record in found if record is not None), key=lambda record: (record.created, record.name))
