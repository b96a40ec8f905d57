"""Making a version: staged files into the data repository, DVC, commit, tag."""

import os
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from satseg.datasets import versions
from satseg.datasets.catalog import memory_of
from satseg.datasets.repository import GitRepository
from satseg.datasets.transaction import Transaction, note
from satseg.storage.atomic import remove_stale_temps, replacing_file, write_json
from satseg.storage.layout import Workspace


@dataclass
class Change:
    """What the next version holds.

    `items` and `collection` are complete; `cogs` and `tables` hold the staged files of scenes that are new or changed;
    `removed` names the scenes that are no longer among the items. `when` is the time the version gets; None = now.
    """

    items: dict[str, dict[str, Any]]
    collection: dict[str, Any]
    cogs: dict[str, Path] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    when: datetime | None = None


def prepare_repository(workspace: Workspace, when: datetime | None = None) -> None:
    """Make the data repository if there is none. Call it holding the data lock."""
    remove_stale_temps(workspace.root, workspace.data.name)  # of a killed first ingest
    if not GitRepository(workspace.data).exists:
        versions.create(workspace.data, when)


def dated(item: dict[str, Any], began: datetime, when: datetime) -> dict[str, Any]:
    """Return an item whose time of ingest is `when` if it was `began`: the moment its version is made.

    An ingest can take hours. A scene that carried an earlier time than the version that brings it would be missed by
    whoever asks for the scenes ingested since they asked last.
    """
    properties = item["properties"]
    if properties["satseg:ingested_at"] != began.isoformat():
        return item
    said = {"satseg:ingested_at": when.isoformat()}
    if properties["satseg:datetime_is"] == "ingest":
        said["datetime"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**item, "properties": {**properties, **said}}


def publish(workspace: Workspace, project: str, change: Change, message: str) -> str:
    """Make the next version of a project and return its name. Call it holding the data lock, after `reconcile`.

    Killed anywhere, it leaves either the former state (after `reconcile`) or the complete version.
    """
    repository = GitRepository(workspace.data)
    tags = repository.tags(project)
    version = f"v{tags[-1].number + 1 if tags else 1}"
    note(workspace.data, Transaction(project=project, version=version, base=repository.head() or ""))
    folder = workspace.dataset(project)
    scenes, annotations = folder / "scenes", folder / "annotations"
    for place in (scenes, annotations, folder / "items"):
        place.mkdir(parents=True, exist_ok=True)
        remove_stale_temps(place)
    _put_files(workspace, project, change, repository.head() or "")
    for scene in change.removed:
        for gone in (scenes / f"{scene}.tif", annotations / f"{scene}.geojson", folder / "items" / f"{scene}.json"):
            gone.unlink(missing_ok=True)
    for scene in change.changed:
        write_json(folder / "items" / f"{scene}.json", change.items[scene])
    write_json(folder / "collection.json", change.collection)
    versions.add(workspace.data, [scenes, annotations])
    repository.commit([project], f"{project} {version}: {message}", change.when)
    repository.tag(f"{project}/{version}", message, change.when)
    return version


def _put_files(workspace: Workspace, project: str, change: Change, head: str) -> None:
    """Put the staged files in place, take away annotations that are gone, and restore any file somebody changed."""
    memory = memory_of(workspace, project)
    folder = workspace.dataset(project)
    for scene, item in change.items.items():
        properties = item["properties"]
        wanted = (
            (f"scenes/{scene}.tif", properties["satseg:checksum"], change.cogs.get(scene)),
            (f"annotations/{scene}.geojson", properties["satseg:annotation_checksum"], change.tables.get(scene)),
        )
        for name, checksum, staged in wanted:
            path = folder / name
            if checksum is None:
                path.unlink(missing_ok=True)
            elif staged is not None:
                _link_into(staged, path)
                memory.learn(path, checksum)
            elif memory.of(path) != checksum:
                versions.fetch(workspace.data, head, f"{project}/{name}", path, checksum)
    memory.save()


def _link_into(staged: Path, target: Path) -> None:
    # a link costs nothing and leaves the staged file for a rerun; nobody writes into either in place
    with replacing_file(target) as temp:
        try:
            os.link(staged, temp)
        except OSError:
            shutil.copyfile(staged, temp)
