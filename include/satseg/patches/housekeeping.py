"""Which patch sets there are, who still needs them, and removing those nobody does."""

import os
import shutil
import stat
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from satseg.errors import LockHeldError, NotFoundError
from satseg.patches.extract import LOCK_FILE
from satseg.patches.patchset import PatchSetDescription, latest_patch_set, list_patch_sets
from satseg.progress import say
from satseg.storage.atomic import TEMP_PREFIX, exclusive
from satseg.storage.layout import Workspace

IDLE_HOURS = 24.0  # an unfinished patch set younger than this may be being made right now
LOCK_TIMEOUT_S = 10.0
Users = tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]


@dataclass(frozen=True)
class PatchSetState:
    """One patch set on disk; `description` is None for an unfinished one, `needed` says by whom it is needed.

    `models` are those of `needed` that are model versions, `waived` those that `prune` overrules when forced.
    """

    id: str
    folder: Path
    description: PatchSetDescription | None
    size_bytes: int
    needed: tuple[str, ...]
    models: tuple[str, ...]
    waived: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pruned:
    """What `prune` did."""

    removed: list[PatchSetState]
    kept: list[PatchSetState]

    @property
    def freed_bytes(self) -> int:
        """Bytes of what was removed."""
        return sum(state.size_bytes for state in self.removed)


def patch_set_states(workspace: Workspace, project: str) -> list[PatchSetState]:
    """Return all patch sets of a project, complete ones first by age.

    Raises:
        TemporaryError: MLflow does not answer, so nobody knows which are needed.
    """
    root = workspace.patches(project)
    descriptions = {description.id: description for description in list_patch_sets(workspace, project)}
    folders = (path for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
    unfinished = sorted(path.name for path in folders if path.name not in descriptions)
    users = _users(workspace, project)
    latest = latest_patch_set(workspace, project)
    names = [*descriptions, *unfinished]
    return [_state(root / name, descriptions.get(name), users, name == latest) for name in names]


def _state(folder: Path, description: PatchSetDescription | None, users: Users, latest: bool) -> PatchSetState:
    models, unregistered, running = (user[folder.name] for user in users)
    files = _files(folder)
    needed = [*models, *unregistered, *running]
    waived = [*models, *unregistered]
    if latest:
        needed.append("it is the one meant when none is named")
    hours = max(0.0, (time.time() - max((file.st_mtime for file in files), default=0.0)) / 3600)
    if (description is None or (folder / "parts").exists()) and hours < IDLE_HOURS:
        unfinished = f"it is unfinished and was worked on {hours:.1f} hours ago"
        needed.append(unfinished)
        waived.append(unfinished)
    return PatchSetState(
        id=folder.name,
        folder=folder,
        description=description,
        size_bytes=sum(file.st_size for file in files if stat.S_ISREG(file.st_mode)),
        needed=tuple(needed),
        models=tuple(models),
        waived=tuple(waived),
    )


def prune(workspace: Workspace, project: str, force: bool = False) -> Pruned:
    """Remove the patch sets that are not needed.

    With `force` also those that models were trained on and unfinished ones that nobody works on. Nothing removes the
    one meant when none is named, one that a running training reads, or one being made.

    Raises:
        TemporaryError: MLflow does not answer, or a patch set is being worked on; nothing of it is removed.
    """
    _remove_leftovers(workspace.patches(project))
    removed, kept = [], []
    for found in patch_set_states(workspace, project):
        state = _remove(workspace, project, found, force) if _removable(found, force) else found
        if state is not None:
            kept.append(state)
        else:
            removed.append(found)
    return Pruned(removed, kept)


def _removable(state: PatchSetState, force: bool) -> bool:
    return not (set(state.needed) - set(state.waived if force else ()))


def _remove(workspace: Workspace, project: str, found: PatchSetState, force: bool) -> PatchSetState | None:
    """Remove a patch set unless somebody needs it by now; returns its state then, None when it is gone."""
    with ExitStack() as locks:
        locks.enter_context(exclusive(workspace.lock(f"patch-set-{found.id}"), f"Patch set {found.id}", LOCK_TIMEOUT_S))
        try:
            for lock in found.folder.glob(f"parts/*/{LOCK_FILE}"):
                locks.enter_context(exclusive(lock, f"Patch set {found.id}", timeout_s=0.0))
        except LockHeldError:
            return replace(found, needed=(*found.needed, "its scenes are being extracted"))
        state = next((state for state in patch_set_states(workspace, project) if state.id == found.id), None)
        if state is None:
            return None  # somebody else removed it
        if not _removable(state, force):
            return state
        if state.models:
            say(f"warning: removing patch set {state.id} although {'; '.join(state.models)}")
        # renamed first, so that it is gone as a whole when the process is killed meanwhile
        gone = state.folder.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{state.id}")
        state.folder.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return None


def _remove_leftovers(root: Path) -> None:
    for path in root.glob(f"{TEMP_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _files(folder: Path) -> list[os.stat_result]:
    """Return what the system knows of a folder and all in it, without what vanishes meanwhile."""
    found = []
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            with suppress(FileNotFoundError):
                found.append((Path(place) / name).stat())
    return found


def _users(workspace: Workspace, project: str) -> Users:
    """Return by patch set id the model versions trained on it, fresh runs that may be registered yet, and open runs."""
    from satseg.tracking.connection import tracking_uri
    from satseg.tracking.models import versions
    from satseg.tracking.runs import find_runs, get_run

    models: dict[str, list[str]] = defaultdict(list)
    unregistered: dict[str, list[str]] = defaultdict(list)
    running: dict[str, list[str]] = defaultdict(list)
    database = tracking_uri(workspace).removeprefix("sqlite:///")
    if database.startswith("/") and not Path(database).is_file():
        return models, unregistered, running  # asking would make an empty database
    registered = versions(workspace, project)
    known = {version.run_id for version in registered}
    now = datetime.now(UTC)
    for run in find_runs(workspace, project):
        patch_set = run.tags.get("satseg.patch_set")
        if patch_set is None or run.id in known:
            continue
        hours = (now - (run.ended_at or now)).total_seconds() / 3600
        if run.status == "RUNNING":
            running[patch_set].append(f"run {run.id[:12]} is working on it")
        elif run.status == "FINISHED" and hours < IDLE_HOURS:
            unregistered[patch_set].append(f"run {run.id[:12]} ended {hours:.1f} hours ago and may be registered yet")
    for version in registered:
        aliases = "".join(f" @{alias}" for alias in version.aliases)
        with suppress(NotFoundError):
            patch_set = get_run(workspace, version.run_id).tags.get("satseg.patch_set")
            if patch_set:
                models[patch_set].append(f"model v{version.version}{aliases} was trained on it")
    return models, unregistered, running
