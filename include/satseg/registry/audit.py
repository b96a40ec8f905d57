"""The append-only log of what was decided about model versions, one JSON object per line."""

import os
import pwd
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from satseg.stages import Gate

Action = Literal["registered", "promoted", "refused", "rolled_back"]
CHAMPION_MAKING = ("promoted", "rolled_back")


class AuditEntry(BaseModel):
    """One decision. `from` is the champion before it, `to` the version it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    who: str
    action: Action
    from_version: str | None = Field(alias="from")
    to_version: str = Field(alias="to")
    gates: list[Gate] = []
    reason: str = ""
    evidence: dict[str, Any] = Field({}, description="Run id, patch set and scores that the decision rests on.")


def actor(approved_by: str | None = None) -> str:
    """Return who decides: the person named, or the account this process runs as."""
    if approved_by:
        return approved_by
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as numbers without a name
        account = f"uid {os.getuid()}"
    return f"{account}@{socket.gethostname()}"


def append(path: Path, entry: AuditEntry) -> None:
    """Add an entry and flush it to disk, once however often it is called. Call it holding the registry's lock."""
    if any(known.id == entry.id for known in entries(path)):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = entry.model_dump_json(by_alias=True).encode() + b"\n"
    with path.open("ab+") as log:
        if log.tell() > 0:
            log.seek(-1, os.SEEK_END)
            if log.read(1) != b"\n":  # a line torn by a power cut must not spoil the next
                line = b"\n" + line
        log.write(line)
        log.flush()
        os.fsync(log.fileno())


def entries(path: Path) -> list[AuditEntry]:
    """Return all readable entries, oldest first; a torn line is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(AuditEntry.model_validate_json(line))
        except ValidationError:
            continue
    return found


def champions(log: list[AuditEntry]) -> list[str]:
    """Return today's champion (last) and those it replaced, oldest first: a rollback undoes a promotion."""
    stack: list[str] = []
    for entry in log:
        if entry.action == "promoted":
            stack.append(entry.to_version)
        elif entry.action == "rolled_back":
            while stack and stack[-1] != entry.to_version:
                stack.pop()
            stack = stack or [entry.to_version]
    return stack
