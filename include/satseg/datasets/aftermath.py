"""What follows a made version: the remote, quarantine entries, emptying incoming/, clearing up.

All of it is noted in the transaction first, so that the next ingest ends what a killed one began.
"""

import os
import shutil
from pathlib import Path

from satseg.datasets.checking import Checked
from satseg.datasets.discovery import Discovery
from satseg.datasets.quarantine import move_file, resolve
from satseg.datasets.remote import push
from satseg.datasets.retry import Quarantined
from satseg.datasets.transaction import Transaction, forget, note
from satseg.stages import IngestResult
from satseg.storage.layout import Workspace


def plan_moves(
    workspace: Workspace, project: str, found: Discovery, checked: Checked, version: str
) -> list[tuple[Path, Path]]:
    """Return where each file of incoming/ goes: to quarantine or to originals; nothing for another source."""
    incoming = workspace.incoming(project).resolve()
    if not found.root.is_relative_to(incoming):
        return []  # other folders are only read
    originals, quarantine = workspace.originals(project, version), workspace.quarantine(project)
    refused = {path: quarantine / entry.id / entry.places[path] for entry in checked.rejected for path in entry.files}
    return [(path, refused.get(path, originals / path.relative_to(incoming))) for path in found.files]


def plan_returns(
    workspace: Workspace, project: str, waiting: Quarantined, checked: Checked, version: str
) -> list[tuple[Path, Path]]:
    """Return where the files of scenes that have passed a second check go: from quarantine to originals."""
    refused = {waiting.folders[entry.id] for entry in checked.rejected}
    originals = workspace.originals(project, version)
    return [
        (path, originals / "from-quarantine" / folder.name / path.relative_to(folder))
        for folder in sorted({waiting.folders[scene.id] for scene in checked.accepted} - refused)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    ]


def finish(workspace: Workspace, result: IngestResult, transaction: Transaction) -> None:
    """Do everything that follows a version; killed in the middle, the next ingest does the rest.

    Raises:
        TemporaryError: the DVC remote is away; incoming/ stays full and the next ingest tries again.
    """
    project = transaction.project
    note(workspace.data, transaction)
    push(workspace)
    for scene in result.scenes:
        resolve(workspace.quarantine(project), scene, transaction.version)
    move(workspace, project, transaction.moves)
    clear(workspace, project)


def move(workspace: Workspace, project: str, moves: list[tuple[Path, Path]]) -> None:
    """Move the files that are still there, and remove the folders of incoming/ and quarantine/ that are empty then."""
    for source, target in moves:
        if os.path.lexists(source):  # also a link to nowhere
            move_file(source, target)
    for root in (workspace.incoming(project).resolve(), workspace.quarantine(project).resolve()):
        for folder in {source.parent for source, _ in moves if source.is_relative_to(root)}:
            _remove_if_empty(folder, root)


def clear(workspace: Workspace, project: str) -> None:
    """Remove the staged files and the note."""
    shutil.rmtree(workspace.staging(project), ignore_errors=True)
    forget(workspace.data, project)


def _remove_if_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
