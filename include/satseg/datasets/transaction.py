"""What makes an ingest survive `kill -9`: a note of the change under way, undone or completed by the next ingest.

The note lies inside `.git` of the data repository, so it lives and dies with it. It is written before the first file
of the working tree changes and removed when everything that follows the new tag is done. A note without its tag means
a half-made version: the tree goes back to where it was. A note with its tag means a made version whose aftermath
(emptying incoming/, telling the caller) is still open.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from satseg.datasets.repository import GitRepository
from satseg.datasets.versions import restore
from satseg.errors import BadDataError
from satseg.storage.atomic import write_json


def _noted(path: Path) -> str:
    # a name may hold bytes that are not UTF-8, and JSON may not
    return quote(os.fsencode(path))


def _meant(text: str | Path) -> Path:
    return text if isinstance(text, Path) else Path(os.fsdecode(unquote_to_bytes(text)))


NotedPath = Annotated[Path, BeforeValidator(_meant), PlainSerializer(_noted)]


class Transaction(BaseModel):
    """One change under way."""

    model_config = ConfigDict(extra="forbid")

    project: str
    version: str
    base: str
    moves: list[tuple[NotedPath, NotedPath]] = []
    result: dict[str, Any] | None = None


def _file(root: Path, project: str) -> Path:
    return root / ".git" / "satseg" / f"{project}.json"


def note(root: Path, transaction: Transaction) -> None:
    """Write or replace the note of a project."""
    write_json(_file(root, transaction.project), transaction.model_dump(mode="json"))


def forget(root: Path, project: str) -> None:
    """Remove the note: everything is done."""
    _file(root, project).unlink(missing_ok=True)


def open_transaction(root: Path, project: str) -> Transaction | None:
    """Return the note of a project, None when nothing is open.

    Raises:
        BadDataError: the note was changed by hand.
    """
    file = _file(root, project)
    if not file.is_file():
        return None
    try:
        return Transaction.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadDataError(f"{file} was changed ({error}). Remove it when no ingest is running.") from error


def reconcile(root: Path) -> None:
    """Undo every half-made version. Call it holding the data lock, before reading or changing the repository."""
    repository = GitRepository(root)
    for file in sorted((root / ".git" / "satseg").glob("*.json")):
        transaction = open_transaction(root, file.stem)
        if transaction is None or transaction.version in [tag.name for tag in repository.tags(transaction.project)]:
            continue
        repository.reset(transaction.base)
        restore(root)
        forget(root, transaction.project)
