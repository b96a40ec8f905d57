"""Reading dataset versions: what other rooms know of the data repository."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from satseg.datasets.checksums import ChecksumMemory
from satseg.datasets.repository import GitRepository, Tag
from satseg.errors import NotFoundError
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class SceneRecord:
    """One scene of one dataset version; `path` and `annotations` can be read now, whatever the newest version is.

    East in `footprint_wgs84` exceeds 180 for a scene across the antimeridian.
    """

    id: str
    path: Path
    annotations: Path | None
    labelled: bool
    checksum: str
    source_checksum: str
    annotation_checksum: str | None
    ingested_at: datetime
    crs: str | None
    gsd_m: float | None
    width: int
    height: int
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    transform: tuple[float, ...]
    footprint_wgs84: tuple[float, float, float, float] | None
    item: dict[str, Any]


@dataclass(frozen=True)
class DatasetVersion:
    """A tagged state of a project's dataset."""

    project: str
    name: str
    commit: str
    created: datetime
    scenes: tuple[SceneRecord, ...]
    message: str


def list_versions(workspace: Workspace, project_name: str) -> list[str]:
    """Return the names of a project's dataset versions ("v1", "v2", …), oldest first."""
    return [tag.name for tag in GitRepository(workspace.data).tags(project_name)]


def open_version(workspace: Workspace, project_name: str, version: str | None = None) -> DatasetVersion:
    """Open a dataset version for reading.

    Files that the newest version has changed or removed are fetched from DVC into `workspace.dataset_views`.

    Raises:
        NotFoundError: there is no such version; the message names those there are.
        TemporaryError: a file of an old version is neither here nor at the DVC remote.
    """
    repository = GitRepository(workspace.data)
    tag = find_tag(repository, project_name, version)
    items = read_items(repository, project_name, tag.commit)
    scenes = materialise(workspace, project_name, tag.commit, items)
    return DatasetVersion(project_name, tag.name, tag.commit, tag.created, scenes, tag.message)


def scenes_added(workspace: Workspace, project_name: str, version: str) -> list[str]:
    """Return the ids of the scenes that are new or changed (pixels or labels) in a version.

    Raises:
        NotFoundError: there is no such version.
    """
    repository = GitRepository(workspace.data)
    tag = find_tag(repository, project_name, version)
    before = [earlier for earlier in repository.tags(project_name) if earlier.number < tag.number]
    old = read_items(repository, project_name, before[-1].commit) if before else {}
    new = read_items(repository, project_name, tag.commit)
    return sorted(scene for scene in new if scene not in old or content_of(new[scene]) != content_of(old[scene]))


def find_tag(repository: GitRepository, project_name: str, version: str | None) -> Tag:
    """Return a version's tag; None asks for the newest, and "3", "v3" and "<project>/v3" mean the same.

    Raises:
        NotFoundError: there is no such version; the message names those there are.
    """
    tags = repository.tags(project_name)
    if not tags:
        raise NotFoundError(
            f"Project '{project_name}' has no dataset version yet. "
            f"Make one with: satseg ingest FOLDER -p {project_name}."
        )
    if version is None:
        return tags[-1]
    wanted = version.removeprefix(f"{project_name}/").removeprefix("v")
    for tag in tags:
        if str(tag.number) == wanted:
            return tag
    raise NotFoundError(
        f"Project '{project_name}' has no dataset version '{version}'. There are: {', '.join(t.name for t in tags)}."
    )


def read_items(repository: GitRepository, project_name: str, commit: str) -> dict[str, dict[str, Any]]:
    """Return the STAC items of a commit by scene id, without touching the working files."""
    files = repository.files(commit, f"{project_name}/items")
    contents = repository.blobs(list(files.values()))
    items = (json.loads(content) for content in contents)
    return dict(sorted((item["id"], item) for item in items))


def last_with(repository: GitRepository, project_name: str, scene: str) -> tuple[Tag, Tag | None] | None:
    """Return the newest version that has a scene and the one that no longer has it; None if no version ever had it."""
    after = None
    for tag in reversed(repository.tags(project_name)):
        if f"{project_name}/items/{scene}.json" in repository.files(tag.commit, f"{project_name}/items"):
            return tag, after
        after = tag
    return None


def content_of(item: dict[str, Any]) -> tuple[str, str | None]:
    """Return what makes a scene differ: checksums of its pixels and of its annotations."""
    properties = item["properties"]
    return properties["satseg:checksum"], properties["satseg:annotation_checksum"]


def with_other_classes(items: Iterable[dict[str, Any]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the items whose labels have other class ids than `classes` give; classes added at the end change none."""
    return [item for item in items if (known := _label_classes(item)) != classes[: len(known)]]


def _label_classes(item: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for entry in item["properties"].get("label:classes", []) for name in entry["classes"])


def memory_of(workspace: Workspace, project_name: str) -> ChecksumMemory:
    """Return the remembered checksums of a project's files."""
    return ChecksumMemory(workspace.dataset_views(project_name) / "checksums.json")


def materialise(
    workspace: Workspace, project_name: str, commit: str, items: dict[str, dict[str, Any]]
) -> tuple[SceneRecord, ...]:
    """Find or fetch the files of the items and return their records, sorted by scene id."""
    memory = memory_of(workspace, project_name)
    reader = _FileFinder(workspace, project_name, commit, memory)
    try:
        return tuple(_record(item, reader) for _, item in sorted(items.items()))
    finally:
        memory.save()


def annotations_of(workspace: Workspace, tag: Tag, item: dict[str, Any]) -> Path | None:
    """Find or fetch the annotation table of one item of a version; None for an unlabelled scene."""
    checksum = item["properties"]["satseg:annotation_checksum"]
    if checksum is None:
        return None
    memory = memory_of(workspace, tag.project)
    try:
        finder = _FileFinder(workspace, tag.project, tag.commit, memory)
        return finder.find("annotations", f"{item['id']}.geojson", checksum)
    finally:
        memory.save()


class _FileFinder:
    """Finds the file with a given checksum: working tree, then views, then DVC."""

    def __init__(self, workspace: Workspace, project_name: str, commit: str, memory: ChecksumMemory) -> None:
        self._root = workspace.data
        self._dataset = workspace.dataset(project_name)
        self._views = workspace.dataset_views(project_name)
        self._commit = commit
        self._memory = memory

    def find(self, folder: str, name: str, checksum: str) -> Path:
        view = self._views / checksum[:16] / name
        for path in (self._dataset / folder / name, view):
            if self._memory.of(path) == checksum:
                return path
        from satseg.datasets.versions import fetch  # imports DVC, which most readers never need

        fetch(self._root, self._commit, f"{self._dataset.name}/{folder}/{name}", view, checksum)
        return view


def _record(item: dict[str, Any], files: _FileFinder) -> SceneRecord:
    properties = item["properties"]
    annotation_checksum = properties["satseg:annotation_checksum"]
    scene = item["id"]
    return SceneRecord(
        id=scene,
        path=files.find("scenes", f"{scene}.tif", properties["satseg:checksum"]),
        annotations=files.find("annotations", f"{scene}.geojson", annotation_checksum) if annotation_checksum else None,
        labelled=annotation_checksum is not None,
        checksum=properties["satseg:checksum"],
        source_checksum=properties["satseg:source"]["checksum"],
        annotation_checksum=annotation_checksum,
        ingested_at=datetime.fromisoformat(properties["satseg:ingested_at"]),
        crs=properties["satseg:crs"],
        gsd_m=properties["satseg:gsd_m"],
        width=properties["proj:shape"][1],
        height=properties["proj:shape"][0],
        bands=tuple(properties["satseg:bands"]),
        dtype=properties["satseg:dtype"],
        nodata=_number(properties["satseg:nodata"]),
        transform=tuple(properties["proj:transform"][:6]),
        footprint_wgs84=_bounds(item.get("bbox")),
        item=item,
    )


def _number(value: float | str | None) -> float | None:
    # JSON has no NaN: nodata NaN is stored as the string "nan"
    return None if value is None else float(value)


def _bounds(bbox: Iterable[float] | None) -> tuple[float, float, float, float] | None:
    if bbox is None:
        return None
    west, south, east, north = bbox
    return west, south, east + 360 if east < west else east, north
