"""What a user may ask the lineage of, and what it turns out to be."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from satseg.datasets.catalog import find_tag, last_with, list_versions, read_items
from satseg.datasets.repository import GitRepository
from satseg.errors import NotFoundError
from satseg.inference.item import ITEM_FILE, read_record
from satseg.lineage.node import Kind
from satseg.patches.patchset import PATCHSET_FILE, is_complete, list_patch_sets
from satseg.storage.layout import Workspace
from satseg.tracking.models import resolve_model

PREFIXES: dict[str, Kind] = {
    "prediction": "prediction",
    "model": "model_version",
    "run": "run",
    "patch-set": "patch_set",
    "dataset": "dataset_version",
    "scene": "scene",
}
LISTED = 8


@dataclass(frozen=True)
class Target:
    """A thing with lineage; `name` is its id, or the folder of a prediction."""

    kind: Kind
    name: str
    note: str = ""


def find_target(workspace: Workspace, project: str, text: str) -> Target:
    """Find out what a user means: a path, or a name, which may be written as KIND:NAME to be unambiguous.

    Raises:
        NotFoundError: nothing is called so; the message lists what can be given.
    """
    prefix, separator, rest = text.partition(":")
    if separator and prefix in PREFIXES:
        found = _by_kind(workspace, project, PREFIXES[prefix], rest)
    else:
        found = _by_path(workspace, project, Path(text)) if os.sep in text else None
        found = found or _by_name(workspace, project, text) or _by_path(workspace, project, Path(text))
    if found is None:
        raise NotFoundError(
            f"Nothing called '{text}' has a lineage in project '{project}'. {_offers(workspace, project)}"
        )
    return found


def _by_name(workspace: Workspace, project: str, text: str) -> Target | None:
    names: tuple[Kind, ...] = ("dataset_version", "patch_set", "model_version", "scene")
    matches = [target for kind in names if (target := _by_kind(workspace, project, kind, text)) is not None]
    if not matches:
        return None
    prefixes = {kind: prefix for prefix, kind in PREFIXES.items()}
    others = ", ".join(f"{prefixes[other.kind]}:{other.name}" for other in matches[1:])
    return Target(matches[0].kind, matches[0].name, f"also a name of {others}" if others else "")


def _by_kind(workspace: Workspace, project: str, kind: Kind, name: str) -> Target | None:
    if kind == "prediction":
        return _by_path(workspace, project, Path(name))
    try:
        if kind == "dataset_version":
            return Target(kind, find_tag(GitRepository(workspace.data), project, name).name) if _is_tag(name) else None
        if kind in {"model_version", "run"}:
            ref = resolve_model(workspace, project, name)
            return Target("model_version", ref.version) if ref.version and kind != "run" else Target("run", ref.run_id)
    except NotFoundError:
        return None
    if kind == "patch_set":
        usable = re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
        return Target(kind, name) if usable and is_complete(workspace, project, name) else None
    return Target(kind, name) if last_with(GitRepository(workspace.data), project, name) is not None else None


def _is_tag(name: str) -> bool:
    return re.fullmatch(r"(.+/)?v\d+", name) is not None  # a bare number is a model version


def _scene_ids(workspace: Workspace, project: str) -> list[str]:
    repository = GitRepository(workspace.data)
    try:
        tag = find_tag(repository, project, None)
    except NotFoundError:
        return []
    return list(read_items(repository, project, tag.commit))


def _by_path(workspace: Workspace, project: str, path: Path) -> Target | None:
    path = path.resolve()
    if not path.exists():
        return None
    folder = path if path.is_dir() else path.parent
    for candidate in (folder, folder.parent):
        if (candidate / ITEM_FILE).is_file() and read_record(candidate) is not None:
            return Target("prediction", str(candidate))
        if (candidate / PATCHSET_FILE).is_file() and candidate.parent == workspace.patches(project):
            return Target("patch_set", candidate.name)
    if workspace.dataset(project) in path.parents:
        return _by_kind(workspace, project, "scene", path.stem)
    if workspace.evaluation(project, "x").parent in path.parents:
        run_id = path.relative_to(workspace.evaluation(project, "x").parent).parts[0]
        return _by_kind(workspace, project, "model_version", run_id)
    return None


def _offers(workspace: Workspace, project: str) -> str:
    """Return what can be given, with examples of what there is."""
    sets = [description.id for description in list_patch_sets(workspace, project)]
    kinds = (
        ("dataset versions", list_versions(workspace, project)),
        ("patch sets", sets),
        ("scenes", _scene_ids(workspace, project)),
    )
    there = [f"{what}: {', '.join(names[-LISTED:])}" for what, names in kinds if names]
    return (
        "Give a file or folder of a prediction, a model version (3 or champion), a run id, a patch set id, a dataset "
        f"version (v3) or a scene id. There are {'; '.join(there) or 'none yet'}; `satseg models list` shows models."
    )
