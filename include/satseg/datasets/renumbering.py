"""Class ids after the project file's classes changed: kept labels are brought to the new ids by name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from satseg.annotations.table import AnnotationTable, read_table, write_table
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import materialise
from satseg.datasets.checksums import sha256_of
from satseg.datasets.preparation import Newest, Prepared
from satseg.datasets.stac import annotated
from satseg.errors import ConfigurationError
from satseg.storage.layout import Workspace


def check_classes(items: Iterable[dict[str, Any]], classes: tuple[str, ...]) -> None:
    """Refuse classes that lack one with polygons.

    Raises:
        ConfigurationError: a class is gone and still used; the message says by how many polygons.
    """
    gone: dict[str, int] = defaultdict(int)
    scenes: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for overview in item["properties"].get("label:overviews", []):
            for count in overview["counts"]:
                if count["name"] not in classes and count["count"]:
                    gone[count["name"]] += count["count"]
                    scenes[count["name"]].append(item["id"])
    for name, polygons in gone.items():
        raise ConfigurationError(
            f"Project file: class '{name}' is no longer in 'classes' ({', '.join(classes)}) but {polygons} polygons of "
            f"the dataset have it (scenes {', '.join(scenes[name][:5])}{', …' if len(scenes[name]) > 5 else ''}). Add "
            "it to 'classes' again, or ingest label files without it for these scenes."
        )


def renumbered(
    workspace: Workspace, project: ProjectConfig, newest: Newest, items: list[dict[str, Any]]
) -> list[Prepared]:
    """Return items of the newest version with their annotation tables, staged, in the project's class ids.

    Raises:
        ConfigurationError: a polygon has a class that the project no longer has.
    """
    if not items:
        return []
    check_classes(items, project.classes)
    assert newest.commit is not None
    records = materialise(workspace, project.name, newest.commit, {item["id"]: item for item in items})
    folder = workspace.staging(project.name) / "annotations"
    return [_renumbered(record.item, record.annotations, record.crs, folder, project) for record in records]


def _renumbered(
    item: dict[str, Any], annotations: Path | None, crs: str | None, folder: Path, project: ProjectConfig
) -> Prepared:
    assert annotations is not None
    numbers = {name: number for number, name in enumerate(project.classes, start=1)}
    kept = read_table(annotations)
    table = AnnotationTable(tuple(replace(polygon, class_id=numbers[polygon.class_name]) for polygon in kept))
    path = folder / annotations.name
    write_table(table, path, crs)
    facts = sha256_of(path), path.stat().st_size
    described = annotated(item, table, facts, item["properties"]["satseg:label_source"], project)
    return Prepared(item["id"], described, table=path)
