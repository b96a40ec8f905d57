"""Looking at versions: which there are, and which scenes are in them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.datasets.catalog import find_tag, read_items, scenes_added
from satseg.datasets.names import windows_among
from satseg.datasets.repository import GitRepository, Tag
from satseg.stages import ListScenesResult, ListScenesSpec
from satseg.storage.layout import Workspace


def run(spec: ListScenesSpec, workspace: Workspace) -> ListScenesResult:
    """List the scenes of a version (default: of all, as they are in the newest), by time of ingest, not yet predicted.

    `since` and `until` are half-open: since ≤ ingested < until; times without a zone are UTC. Windows that annotators
    labelled are not listed: their scene is.

    Raises:
        NotFoundError: the asked version does not exist.
    """
    name = spec.project.name
    repository = GitRepository(workspace.data)
    if spec.dataset_version is None and not repository.tags(name):
        return ListScenesResult(message=f"{name} has no dataset version yet.", dataset_version=None, scenes=[])
    tag = find_tag(repository, name, spec.dataset_version)
    items = read_items(repository, name, tag.commit)
    scenes = scenes_added(workspace, name, tag.name) if spec.dataset_version is not None else sorted(items)
    since, until = _utc(spec.since), _utc(spec.until)
    windows = windows_among(items)  # their pixels have been listed with the scene they are of
    chosen = []
    for scene in scenes:
        if scene in windows:
            continue
        ingested = datetime.fromisoformat(items[scene]["properties"]["satseg:ingested_at"])
        if (since is not None and ingested < since) or (until is not None and ingested >= until):
            continue
        label = spec.not_predicted_by
        if label is None or not _is_predicted(workspace.prediction(name, scene, label), items[scene]):
            chosen.append(scene)
    return ListScenesResult(message=f"{tag.name}: {len(chosen)} scenes.", dataset_version=tag.name, scenes=chosen)


def versions_table(workspace: Workspace, project: str) -> list[dict[str, Any]]:
    """Return one row per version, oldest first; see `version_row`."""
    repository = GitRepository(workspace.data)
    return [version_row(repository, tag) for tag in repository.tags(project)]


def version_row(repository: GitRepository, tag: Tag) -> dict[str, Any]:
    """Return name, time, commit, counts of scenes and labelled scenes, message and changes of a version."""
    items = read_items(repository, tag.project, tag.commit)
    return {
        "version": tag.name,
        "created": tag.created.isoformat(),
        "commit": tag.commit,
        "scenes": len(items),
        "labelled": sum(item["properties"]["satseg:labelled"] for item in items.values()),
        "polygons": sum(item["properties"]["satseg:polygons"] or 0 for item in items.values()),
        "message": tag.message,
        "changes": tag.details.splitlines(),
    }


def scene_table(workspace: Workspace, project: str, version: str | None) -> tuple[Tag, list[dict[str, Any]]]:
    """Return a version's tag and one row per scene.

    Raises:
        NotFoundError: there is no such version.
    """
    repository = GitRepository(workspace.data)
    tag = find_tag(repository, project, version)
    return tag, [_row(scene, item) for scene, item in read_items(repository, project, tag.commit).items()]


def _row(scene: str, item: dict[str, Any]) -> dict[str, Any]:
    properties = item["properties"]
    height, width = properties["proj:shape"]
    return {
        "scene": scene,
        "width": width,
        "height": height,
        "bands": properties["satseg:bands"],
        "dtype": properties["satseg:dtype"],
        "crs": properties["satseg:crs"],
        "gsd_m": properties["satseg:gsd_m"],
        "labelled": properties["satseg:labelled"],
        "polygons": properties["satseg:polygons"],
        "ingested_at": properties["satseg:ingested_at"],
        "checksum": properties["satseg:checksum"],
    }


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _is_predicted(folder: Path, item: dict[str, Any]) -> bool:
    """Return whether a finished prediction of these very pixels lies in `folder`."""
    try:
        prediction = json.loads((folder / "item.json").read_text(encoding="utf-8"))
        return bool(prediction["properties"]["satseg:scene_checksum"] == item["properties"]["satseg:checksum"])
    except (OSError, ValueError, KeyError):
        return False
