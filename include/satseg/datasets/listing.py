"""Looking at versions: which scenes, what changed between two, and a copy of one to look into."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg.datasets.catalog import (
    DatasetVersion,
    SceneRecord,
    content_of,
    find_tag,
    open_version,
    read_items,
    scenes_added,
)
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError
from satseg.stages import ListScenesResult, ListScenesSpec
from satseg.storage.atomic import replacing_directory, write_json
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class Difference:
    """What version `new` has that `old` has not, and the other way round; scene ids, sorted."""

    old: str
    new: str
    added: list[str]
    removed: list[str]
    pixels_changed: list[str]
    labels_changed: list[str]


def run(spec: ListScenesSpec, workspace: Workspace) -> ListScenesResult:
    """List the scenes of a version (default: of all, as they are in the newest), by time of ingest, not yet predicted.

    `since` and `until` are half-open: since ≤ ingested < until; times without a zone are UTC.

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
    chosen = []
    for scene in scenes:
        ingested = datetime.fromisoformat(items[scene]["properties"]["satseg:ingested_at"])
        if (since is not None and ingested < since) or (until is not None and ingested >= until):
            continue
        label = spec.not_predicted_by
        if label is None or not _is_predicted(workspace.prediction(name, scene, label), items[scene]):
            chosen.append(scene)
    return ListScenesResult(message=f"{tag.name}: {len(chosen)} scenes.", dataset_version=tag.name, scenes=chosen)


def versions_table(workspace: Workspace, project: str) -> list[dict[str, Any]]:
    """Return one row per version: name, time, commit, counts of scenes and labelled scenes, message."""
    repository = GitRepository(workspace.data)
    rows = []
    for tag in repository.tags(project):
        items = read_items(repository, project, tag.commit)
        rows.append(
            {
                "version": tag.name,
                "created": tag.created.isoformat(),
                "commit": tag.commit,
                "scenes": len(items),
                "labelled": sum(item["properties"]["satseg:labelled"] for item in items.values()),
                "polygons": sum(item["properties"]["satseg:polygons"] or 0 for item in items.values()),
                "message": tag.message,
            }
        )
    return rows


def scene_table(workspace: Workspace, project: str, version: str | None) -> tuple[str, list[dict[str, Any]]]:
    """Return a version's name and one row per scene.

    Raises:
        NotFoundError: there is no such version.
    """
    repository = GitRepository(workspace.data)
    tag = find_tag(repository, project, version)
    return tag.name, [_row(scene, item) for scene, item in read_items(repository, project, tag.commit).items()]


def difference(workspace: Workspace, project: str, old: str, new: str | None) -> Difference:
    """Compare two versions by checksums.

    Raises:
        NotFoundError: there is no such version.
    """
    repository = GitRepository(workspace.data)
    tags = find_tag(repository, project, old), find_tag(repository, project, new)
    before, after = (read_items(repository, project, tag.commit) for tag in tags)
    both = sorted(before.keys() & after.keys())
    contents = {scene: (content_of(before[scene]), content_of(after[scene])) for scene in both}
    return Difference(
        old=tags[0].name,
        new=tags[1].name,
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        pixels_changed=[scene for scene, (was, now) in contents.items() if was[0] != now[0]],
        labels_changed=[scene for scene, (was, now) in contents.items() if was[1] != now[1]],
    )


def checkout(workspace: Workspace, project: str, version: str | None, out: Path | None) -> tuple[DatasetVersion, Path]:
    """Lay a version out as a folder of its own (collection.json, items/, scenes/, annotations/).

    The data repository itself stays at the newest version, where other stages read it. Scenes are symbolic links to
    files that are never changed in place.

    Args:
        workspace: where the dataset is.
        project: name of the project.
        version: None = newest.
        out: target folder, which must not exist; default: views/<project>/<version>/, which is replaced.

    Raises:
        NotFoundError: there is no such version.
        ConfigurationError: `out` exists.
    """
    opened = open_version(workspace, project, version)
    target = out or workspace.dataset_views(project) / opened.name
    if out is not None and out.exists():
        raise ConfigurationError(f"{out} exists. Give a folder that does not, or remove it.")
    repository = GitRepository(workspace.data)
    collection = repository.run("show", f"{opened.commit}:{project}/collection.json")
    with replacing_directory(target) as temp:
        for name in ("items", "scenes", "annotations"):
            (temp / name).mkdir()
        write_json(temp / "collection.json", json.loads(collection))
        for record in opened.scenes:
            _lay_out(record, temp)
    return opened, target


def _lay_out(record: SceneRecord, folder: Path) -> None:
    write_json(folder / "items" / f"{record.id}.json", record.item)
    (folder / "scenes" / f"{record.id}.tif").symlink_to(record.path)
    if record.annotations is not None:
        (folder / "annotations" / f"{record.id}.geojson").symlink_to(record.annotations)


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
