"""What follows a made version: the remote, older quarantine entries, emptying incoming/, clearing up.

All of it is noted in the transaction first, so that the next ingest ends what a killed one began.
"""

import shutil
from pathlib import Path

from satseg.config.settings import settings
from satseg.datasets import versions
from satseg.datasets.checking import Checked
from satseg.datasets.discovery import Discovery
from satseg.datasets.quarantine import move_file, resolve
from satseg.datasets.transaction import Transaction, forget, note
from satseg.progress import say
from satseg.stages import IngestResult
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace


def plan_moves(
    workspace: Workspace, project: str, found: Discovery, checked: Checked, version: str
) -> list[tuple[Path, Path]]:
    """Return where each file of incoming/ goes: to quarantine or to originals; nothing for another source."""
    incoming = workspace.incoming(project).resolve()
    if not found.root.is_relative_to(incoming):
        return []  # other folders are only read
    originals = workspace.originals(project, version)
    refused = {path: workspace.quarantine(project) / entry.id for entry in checked.rejected for path in entry.files}
    return [
        (path, refused[path] / path.name if path in refused else originals / path.relative_to(incoming))
        for path in found.files
    ]


def finish(workspace: Workspace, result: IngestResult, transaction: Transaction) -> None:
    """Do everything that follows a version; killed in the middle, the next ingest does the rest.

    Raises:
        TemporaryError: the DVC remote is away; incoming/ stays full and the next ingest tries again.
    """
    project = transaction.project
    note(workspace.data, transaction)
    remote = settings().dvc_remote
    if remote is not None:
        with exclusive(workspace.lock("data"), "The data repository"):
            sent = versions.push(workspace.data, remote)
        say(f"{sent} files sent to {remote}")
    for scene in result.scenes:
        resolve(workspace.quarantine(project), scene, transaction.version)
    move(workspace.incoming(project), transaction.moves)
    clear(workspace, project)


def move(incoming: Path, moves: list[tuple[Path, Path]]) -> None:
    """Move the files that are still there, and remove the folders of incoming/ that are empty then."""
    for source, target in moves:
        if source.exists():
            move_file(source, target)
    for folder in {folder for source, _ in moves for folder in source.parents if folder.is_relative_to(incoming)}:
        _remove_if_empty(folder, incoming)


def clear(workspace: Workspace, project: str) -> None:
    """Remove the staged files and the note."""
    shutil.rmtree(workspace.staging(project), ignore_errors=True)
    forget(workspace.data, project)


def _remove_if_empty(folder: Path, incoming: Path) -> None:
    while folder != incoming and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
