"""Changing the champion so that a kill at any moment leaves exactly one, and the audit log says which.

The decision is written to a pending file, then the alias `champion` moves in one database transaction, then the rest
follows. Whoever takes the registry's lock next finishes what a killed process began: if the alias has moved, the
decision counts and the rest is done; if not, it never happened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from satseg.progress import say
from satseg.registry.audit import AuditEntry, append
from satseg.registry.stage_words import CHALLENGER, CHAMPION, PREVIOUS, sync_stage_tags
from satseg.storage.atomic import exclusive, write_json
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version, delete_alias, set_alias, set_version_tags, versions

DECISION_TAG, REASON_TAG = "satseg.decision", "satseg.decision_reason"
BY_TAG, TIME_TAG = "satseg.decided_by", "satseg.decided_at"
MAX_TAG_LENGTH = 4900  # MLflow cuts or refuses longer ones


class PendingSwap(BaseModel):
    """A decision that is being carried out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry: AuditEntry
    previous: str | None


@contextmanager
def registry_lock(workspace: Workspace, project_name: str) -> Iterator[AuditEntry | None]:
    """Hold the registry of a project; yields the decision of a killed process that was finished just now, if any.

    Raises:
        LockHeldError: somebody else decides for too long.
    """
    with exclusive(workspace.lock(f"registry-{project_name}"), f"The model registry of '{project_name}'"):
        yield _recover(workspace, project_name)


def swap_champion(workspace: Workspace, project_name: str, entry: AuditEntry, previous: str | None) -> None:
    """Make `entry.to_version` champion and `previous` previous. Call it holding the registry's lock."""
    pending = PendingSwap(entry=entry, previous=previous)
    write_json(_pending_file(workspace, project_name), pending.model_dump(mode="json", by_alias=True))
    set_alias(workspace, project_name, CHAMPION, entry.to_version)
    _finish(workspace, project_name, pending)


def settle(workspace: Workspace, project_name: str) -> None:
    """Finish what a killed process began, so that aliases and audit log say the same; for whoever only reads them."""
    if _pending_file(workspace, project_name).exists():
        with registry_lock(workspace, project_name):
            pass


def record_decision(workspace: Workspace, project_name: str, version: str, entry: AuditEntry) -> None:
    """Write a decision to a version's tags: what, why, who, when."""
    tags = {
        REASON_TAG: entry.reason[:MAX_TAG_LENGTH],
        BY_TAG: entry.who,
        TIME_TAG: entry.time.isoformat(timespec="seconds"),
        DECISION_TAG: entry.action,  # last: the mark that the others are there
    }
    set_version_tags(workspace, project_name, version, tags)


def _pending_file(workspace: Workspace, project_name: str) -> Path:
    return workspace.audit_log(project_name).with_suffix(".pending.json")


def _finish(workspace: Workspace, project_name: str, pending: PendingSwap) -> None:
    entry = pending.entry
    if pending.previous is None:
        delete_alias(workspace, project_name, PREVIOUS)
    else:
        set_alias(workspace, project_name, PREVIOUS, pending.previous)
    about = entry.from_version if entry.action == "rolled_back" and entry.from_version else entry.to_version
    record_decision(workspace, project_name, about, entry)
    append(workspace.audit_log(project_name), entry)
    if alias_version(workspace, project_name, CHALLENGER) == entry.to_version:
        delete_alias(workspace, project_name, CHALLENGER)
    sync_stage_tags(workspace, project_name)
    _pending_file(workspace, project_name).unlink()


def _recover(workspace: Workspace, project_name: str) -> AuditEntry | None:
    path = _pending_file(workspace, project_name)
    if not path.exists():
        return None
    pending = PendingSwap.model_validate_json(path.read_bytes())
    if alias_version(workspace, project_name, CHAMPION) != pending.entry.to_version:
        say(f"A killed process had not made v{pending.entry.to_version} champion; that decision is dropped.")
        path.unlink()
        return None
    known = {record.version for record in versions(workspace, project_name)}
    if pending.previous not in known:  # somebody deleted it in between
        pending = pending.model_copy(update={"previous": None})
    say(f"Finishing what a killed process began: v{pending.entry.to_version} is champion.")
    _finish(workspace, project_name, pending)
    return pending.entry
