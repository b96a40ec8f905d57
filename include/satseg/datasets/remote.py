"""The DVC remote: which versions it has, and sending what it lacks.

A note in `.git` of the data repository says which versions were sent to which remote. It only saves work: `push` with
`everything` asks the remote itself.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from satseg.config.settings import settings
from satseg.datasets import versions
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError
from satseg.progress import say
from satseg.storage.atomic import exclusive, write_json
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class Pushed:
    """What a push did: versions the remote has now and had not before (as noted), and files sent."""

    remote: str
    versions: list[str]
    files: int


def push(workspace: Workspace, *, everything: bool = False) -> Pushed | None:
    """Send the versions that the remote of the settings lacks; None without a remote.

    Args:
        workspace: where the dataset is.
        everything: look at every version, also those that were sent before.

    Raises:
        TemporaryError: the remote cannot be reached; nothing is lost, the next push goes on.
    """
    remote = settings().dvc_remote
    if remote is None:
        return None
    with exclusive(workspace.lock("data"), "The data repository"):
        repository = GitRepository(workspace.data)
        tags = {f"{tag.project}/{tag.name}": tag.commit for tag in repository.all_tags()}
        sent = _sent(workspace.data, remote)
        waiting = sorted(name for name, commit in tags.items() if sent.get(name) != commit)
        if not tags or not (waiting or everything):
            return Pushed(versions.shown_remote(remote), [], 0)
        files = versions.push(workspace.data, remote)
        write_json(_note(workspace.data), {"remote": versions.shown_remote(remote), "versions": tags})
    say(f"{len(waiting)} versions, {files} files sent to {versions.shown_remote(remote)}")
    return Pushed(versions.shown_remote(remote), waiting, files)


def push_now(workspace: Workspace) -> Pushed:
    """Send everything the remote lacks, whatever was noted.

    Raises:
        ConfigurationError: no remote is set, or there is nothing to send.
        TemporaryError: the remote cannot be reached.
    """
    if not GitRepository(workspace.data).exists:
        raise ConfigurationError("There is no dataset version yet. Make one with: satseg ingest FOLDER.")
    pushed = push(workspace, everything=True)
    if pushed is None:
        raise ConfigurationError(
            "SATSEG_DVC_REMOTE is not set, so there is nowhere to send dataset versions. Set it to a folder or to "
            "s3://bucket/path, in the environment or in .env."
        )
    return pushed


def _note(root: Path) -> Path:
    return root / ".git" / "satseg-sent.json"


def _sent(root: Path, remote: str) -> dict[str, str]:
    try:
        note = json.loads(_note(root).read_text(encoding="utf-8"))
        return dict(note["versions"]) if note["remote"] == versions.shown_remote(remote) else {}
    except (OSError, ValueError, KeyError):
        return {}
