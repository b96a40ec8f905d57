"""From a dropped scene to its STAC item, COG and annotation table, all staged; or to the reasons against it."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affine import Affine

from satseg.annotations.fitting import FitReport, fit_labels, nearest_class
from satseg.annotations.labels import LabelFile, SceneFrame
from satseg.annotations.mask_values import check_mask_values
from satseg.annotations.reading import Labels, read_labels
from satseg.annotations.table import AnnotationTable, write_table
from satseg.config.data import AnnotationConfig
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import materialise
from satseg.datasets.checksums import sha256_of
from satseg.datasets.discovery import SceneSource
from satseg.datasets.stac import annotated, scene_item, unread_time
from satseg.datasets.staging import StagedScene, conversion_id, measured, source_checksum, stage_scene
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class Newest:
    """The newest version as an ingest finds it; empty before the first."""

    items: dict[str, dict[str, Any]]
    commit: str | None = None
    version: str = ""


@dataclass
class Prepared:
    """A scene that can enter the next version."""

    id: str
    item: dict[str, Any]
    cog: Path | None = None
    table: Path | None = None
    row: dict[str, Any] = field(default_factory=dict)
    polygons: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Labels:
    """The label file that serves a scene."""

    path: Path
    source: str  # "stem" or "folder"
    how: AnnotationConfig


class Preparation:
    """Prepares the scenes of one ingest, one after the other."""

    def __init__(self, workspace: Workspace, project: ProjectConfig, newest: Newest, *, force: bool = False) -> None:
        self._workspace = workspace
        self._project = project
        self._items = newest.items
        self._commit = newest.commit
        self._staging = workspace.staging(project.name)
        check_mask_values(project.annotations, project.classes)
        self._files: dict[Path, Labels | BadDataError] = {}
        self._used: dict[Path, set[int]] = defaultdict(set)
        # stands for this ingest until its version is made; times of versions are whole seconds, so none can equal it
        self.began = datetime.now(UTC).replace(microsecond=1)
        self._force = force
        self.before_conversion: Callable[[], None] = lambda: None
        self.after_writing: Callable[[], None] = lambda: None

    def prepare(self, source: SceneSource) -> Prepared:
        """Stage a scene and describe it.

        Raises:
            BadDataError: it cannot be used; the message holds the reasons.
        """
        if source.problem is not None:
            raise BadDataError(source.problem)
        old = self._items.get(source.id)
        staged = self._staged(source, old)
        if staged is None:
            assert old is not None
            item, name, grid, drawn_on = old, _source_name(old), _grid_of(old), (_source_grid_of(old), _grid_of(old))
        else:
            item = scene_item(source.id, staged, self._project, self._ingested_at(staged, old))
            name, grid, drawn_on = staged.source_name, staged.grid, (staged.source_grid, staged.grid)
        prepared = Prepared(source.id, item, None if staged is None else staged.cog)
        self._label(prepared, source, old, SceneFrame((name, f"{source.id}.tif"), grid, drawn_on))
        prepared.row = {
            "scene": source.id,
            "labelled": prepared.item["properties"]["satseg:labelled"],
            **(measured(staged, len(self._project.bands), self._project) if staged else {}),
        }
        if staged is not None:
            prepared.warnings += [*staged.notes, *unread_time(staged)]
        return prepared

    def unused_labels(self) -> list[str]:
        """Return a warning per folder-level file with polygons that lie in no scene."""
        said = []
        for path, used in self._used.items():
            file = self._files[path]
            if not isinstance(file, BadDataError) and (unused := file.total - len(used)):
                said.append(f"{path.name}: {unused} of {file.total} polygons lie in no scene that it serves")
        return said

    def _staged(self, source: SceneSource, old: dict[str, Any] | None) -> StagedScene | None:
        """Return the converted scene, None when the dataset already holds these pixels."""
        if source.raster is None:
            return None
        checksum, conversion = source_checksum(source, self._project), conversion_id(source, self._project)
        if old is not None and not self._force:
            properties = old["properties"]
            if (properties["satseg:source"]["checksum"], properties["satseg:conversion"]) == (checksum, conversion):
                return None
        self.before_conversion()
        return stage_scene(source, checksum, conversion, self._project, self._staging, self.after_writing)

    def _ingested_at(self, staged: StagedScene, old: dict[str, Any] | None) -> datetime:
        """Return the time of this ingest for new pixels; other conversions of known pixels are not new scenes."""
        if old is None or old["properties"]["satseg:source"]["checksum"] != staged.source_checksum:
            return self.began
        return datetime.fromisoformat(old["properties"]["satseg:ingested_at"])

    def _label(self, prepared: Prepared, source: SceneSource, old: dict[str, Any] | None, frame: SceneFrame) -> None:
        if prepared.item is old and not self._brings_labels(source, old):
            return
        labels = self._labels_for(prepared, source, old)
        table = None if labels is None else self._fitted(prepared, labels, frame)
        if table is None and prepared.item is old:
            return  # an unusable label file does not take away the labels there are
        facts = None
        if table is not None:
            prepared.table = self._staging / "annotations" / f"{source.id}.geojson"
            write_table(table, prepared.table, frame.grid.crs)
            facts = sha256_of(prepared.table), prepared.table.stat().st_size
            prepared.polygons = _rows(source.id, table, frame.grid)
        origin = labels.source if labels is not None and table is not None else None
        prepared.item = annotated(prepared.item, table, facts, origin, self._project)

    def _brings_labels(self, source: SceneSource, old: dict[str, Any]) -> bool:
        if source.labels is not None:
            return True
        return source.shared_labels is not None and old["properties"]["satseg:label_source"] != "stem"

    def _labels_for(self, prepared: Prepared, source: SceneSource, old: dict[str, Any] | None) -> _Labels | None:
        own = self._project.annotations
        if source.labels is not None:
            return _Labels(source.labels, "stem", own)
        kept = self._kept_labels(prepared, old)
        if kept is not None and (kept.source == "stem" or source.shared_labels is None):
            return kept
        return None if source.shared_labels is None else _Labels(source.shared_labels, "folder", own)

    def _kept_labels(self, prepared: Prepared, old: dict[str, Any] | None) -> _Labels | None:
        """Return the annotations the dataset holds for a scene, where its new pixels cover the same ground."""
        if old is None or not old["properties"]["satseg:labelled"] or self._commit is None:
            return None
        if _source_grid_of(old) != _source_grid_of(prepared.item):
            prepared.warnings.append("its new pixels lie elsewhere than the old, so the old labels were dropped")
            return None
        (record,) = materialise(self._workspace, self._project.name, self._commit, {prepared.id: old})
        assert record.annotations is not None
        if prepared.item is not old:
            prepared.warnings.append("has new pixels and no label file: the labels of the old pixels were kept")
        return _Labels(record.annotations, old["properties"]["satseg:label_source"], AnnotationConfig())

    def _fitted(self, prepared: Prepared, labels: _Labels, frame: SceneFrame) -> AnnotationTable | None:
        """Return the scene's annotations; None when the file says nothing about it."""
        file = self._read(labels)
        folder = labels.source == "folder"
        if folder and (why := _cannot_serve(file, frame.grid)):
            prepared.warnings.append(f"{labels.path.name} does not serve it: {why}")
            return None
        used = self._used[labels.path] if folder else set()
        found = file.for_scene(replace(frame, own_file=not folder))
        if found is None:
            if folder:
                return None  # the images of the file are other scenes
            raise BadDataError(
                f"{labels.path.name} is called like the scene but holds no image of its name "
                f"({' or '.join(frame.file_names)}); correct the image's file_name"
            )
        table, report = fit_labels(
            found,
            frame,
            self._project.classes,
            shared=found.kind == "mask" or (folder and not found.of_one_image),
            line_buffer=labels.how.line_buffer,
            class_names=labels.how.class_names,
        )
        used |= report.used
        if self._project.annotations.strict and report.unknown:
            raise BadDataError("; ".join(_strict_reasons(report, labels.path, self._project.classes)))
        prepared.warnings += [*found.notes, *report.warnings(self._project.classes)]
        if len(table) or found.kind == "mask" or not (found.labels or found.not_areas or found.boxes):
            return table
        # a file whose polygons were all dropped says nothing; taking it as "nothing here" would teach a wrong negative
        prepared.warnings.append(f"no polygon of {labels.path.name} is usable here: they do not count as labels")
        return None

    def _read(self, labels: _Labels) -> Labels:
        if labels.path not in self._files:
            try:
                self._files[labels.path] = read_labels(labels.path, labels.how, self._project.classes)
            except BadDataError as error:
                self._files[labels.path] = error
        file = self._files[labels.path]
        if isinstance(file, BadDataError):
            raise file
        return file


def _strict_reasons(report: FitReport, path: Path, classes: tuple[str, ...]) -> list[str]:
    return [
        f"{path.name}: {count} polygons of unknown class '{name}' ({nearest_class(name, classes)}) and "
        "annotations.strict is true; correct the class or add it to 'classes' in the project file"
        for name, count in sorted(report.unknown.items())
    ]


def _cannot_serve(file: Labels, scene: Grid) -> str | None:
    """Return why a folder-level file has nothing to do with a scene, None when it may have."""
    if isinstance(file, LabelFile) and file.kind == "LabelMe":
        return "a LabelMe file labels one image; name it like its scene"
    if scene.crs is None and file.crs is not None:
        return f"its coordinates are in {file.crs} and the scene has no CRS"
    return None


def _grid_of(item: dict[str, Any]) -> Grid:
    properties = item["properties"]
    height, width = properties["proj:shape"]
    return Grid(width, height, Affine(*properties["proj:transform"][:6]), properties["satseg:crs"])


def _source_name(item: dict[str, Any]) -> str:
    name: str = item["properties"]["satseg:source"]["name"]
    return name


def _source_grid_of(item: dict[str, Any]) -> Grid:
    source = item["properties"]["satseg:source"]
    return Grid(source["width"], source["height"], Affine(*source["transform"]), source["crs"])


def _rows(scene: str, table: AnnotationTable, grid: Grid) -> list[dict[str, Any]]:
    pixel = math.fabs(grid.transform.determinant)
    return [
        {
            "scene": scene,
            "polygon": number,
            "class": polygon.class_name,
            "valid": bool(polygon.geometry.is_valid),
            "area_px": polygon.geometry.area / pixel,
        }
        for number, polygon in enumerate(table)
    ]
