"""Which patch sets there are, who still needs them, and removing those nobody does."""

import shutil
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from satseg.errors import NotFoundError
from satseg.patches.patchset import PatchSetDescription, latest_patch_set, list_patch_sets
from satseg.progress import say
from satseg.storage.atomic import TEMP_PREFIX, exclusive
from satseg.storage.layout import Workspace

IDLE_HOURS = 24.0  # an unfinished patch set younger than this may be being made right now
LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class PatchSetState:
    """One patch set on disk; `description` is None for an unfinished one, `needed` says by whom it is needed."""

    id: str
    folder: Path
    description: PatchSetDescription | None
    size_bytes: int
    needed: tuple[str, ...]
    models: tuple[str, ...]


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
    models, running = _users(workspace, project)
    latest = latest_patch_set(workspace, project)
    states = []
    for name in [*descriptions, *unfinished]:
        folder = root / name
        needed = list(models[name]) + running[name]
        if name == latest:
            needed.append("it is the one meant when none is named")
        if name not in descriptions and (hours := _idle_hours(folder)) < IDLE_HOURS:
            needed.append(f"it is unfinished and was worked on {hours:.1f} hours ago")
        states.append(
            PatchSetState(
                id=name,
                folder=folder,
                description=descriptions.get(name),
                size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
                needed=tuple(needed),
                models=tuple(models[name]),
            )
        )
    return states


def prune(workspace: Workspace, project: str, force: bool = False) -> Pruned:
    """Remove the patch sets that are not needed; with `force` also those that registered models were trained on.

    Neither removes the one meant when none is named, one that a running training reads, or one being made.

    Raises:
        TemporaryError: MLflow does not answer, or a patch set is being worked on; nothing of it is removed.
    """
    _remove_leftovers(workspace.patches(project))
    removed, kept = [], []
    for state in patch_set_states(workspace, project):
        others = set(state.needed) - set(state.models)
        if others or (state.models and not force):
            kept.append(state)
            continue
        if state.models:
            say(f"warning: removing patch set {state.id} although {'; '.join(state.models)}")
        with exclusive(workspace.lock(f"patch-set-{state.id}"), f"Patch set {state.id}", LOCK_TIMEOUT_S):
            # renamed first, so that it is gone as a whole when the process is killed meanwhile
            gone = state.folder.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{state.id}")
            state.folder.replace(gone)
            shutil.rmtree(gone, ignore_errors=True)
        removed.append(state)
    return Pruned(removed, kept)


def _remove_leftovers(root: Path) -> None:
    for path in root.glob(f"{TEMP_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _idle_hours(folder: Path) -> float:
    newest = max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    return max(0.0, (time.time() - newest) / 3600)


def _users(workspace: Workspace, project: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return by patch set id which model versions were trained on it, and which trainings read it now."""
    from satseg.tracking.connection import tracking_uri
    from satseg.tracking.models import versions
    from satseg.tracking.runs import find_runs, get_run

    models: dict[str, list[str]] = defaultdict(list)
    running: dict[str, list[str]] = defaultdict(list)
    database = tracking_uri(workspace).removeprefix("sqlite:///")
    if database.startswith("/") and not Path(database).is_file():
        return models, running  # asking would make an empty database
    for version in versions(workspace, project):
        aliases = "".join(f" @{alias}" for alias in version.aliases)
        try:
            patch_set = get_run(workspace, version.run_id).tags.get("satseg.patch_set")
        except NotFoundError:
            continue
        if patch_set:
            models[patch_set].append(f"model v{version.version}{aliases} was trained on it")
    for run in find_runs(workspace, project):
        if run.status == "RUNNING" and (patch_set := run.tags.get("satseg.patch_set")):
            running[patch_set].append(f"run {run.id[:12]} is working on it")
    return models, running
