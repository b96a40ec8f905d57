"""Bringing the labels of a file onto one scene: coordinates, repair, extent, classes; everything dropped is counted."""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from satseg.annotations.labels import Area, Geometries, LabelFile, SceneFrame
from satseg.annotations.placing import Carrier, carrier, ground_box, moved, pixel_of
from satseg.annotations.repair import repaired
from satseg.annotations.table import AnnotationTable, LabelledPolygon
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid, pixel_size_m

_DEGREES = (180.0 + 1e-6, 90.0 + 1e-6)


@dataclass
class FitReport:
    """What happened to the labels of a file on one scene."""

    polygons: int = 0
    repaired: int = 0
    empty: int = 0
    outside: int = 0
    not_areas: int = 0
    boxes: int = 0
    unnamed: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    used: set[int] = field(default_factory=set)

    def warnings(self, classes: tuple[str, ...]) -> list[str]:
        """Return one sentence per kind of change, each with its count."""
        counted = (
            (self.repaired, "self-intersecting or otherwise invalid, repaired with make_valid"),
            (self.empty, "without any area, dropped"),
            (self.outside, "outside the scene, dropped"),
            (self.not_areas, "not an area (points, lines or unknown shapes), dropped"),
            (self.boxes, "with only a bounding box, dropped"),
            (self.unnamed, f"without a class, taken as '{classes[0]}', the only one"),
        )
        said = [f"{_polygons(count)} {what}" for count, what in counted if count]
        return said + [
            f"{_polygons(count)} of unknown class '{name}' dropped ({nearest_class(name, classes)})"
            for name, count in sorted(self.unknown.items())
        ]


def _polygons(count: int) -> str:
    return f"{count} polygon" if count == 1 else f"{count} polygons"


def nearest_class(name: str, classes: tuple[str, ...]) -> str:
    """Return words that name the class most like `name`, or all classes when none is like it."""
    near = difflib.get_close_matches(name.lower(), classes, n=1, cutoff=0.5)
    return f"nearest known class: '{near[0]}'" if near else f"known classes: {', '.join(classes)}"


def fit_labels(
    labels: LabelFile,
    frame: SceneFrame,
    classes: tuple[str, ...],
    *,
    shared: bool = False,
    line_buffer: float | None = None,
    class_names: Mapping[str, str] | None = None,
) -> tuple[AnnotationTable, FitReport]:
    """Bring labels into a scene's coordinates and keep what is usable.

    Args:
        labels: a label file.
        frame: the scene. The label file's image size chooses the grid that its pixel coordinates refer to; without
            one it is the first of `frame.drawn_on`.
        classes: the project's classes; ids count from 1.
        shared: the file serves more than this scene, so that labels elsewhere are expected.
        line_buffer: metres (pixels without a CRS) to each side by which lines become areas.
        class_names: names in the file that mean a class called otherwise.

    Returns:
        The table (scene coordinates) and the report.

    Raises:
        BadDataError: the labels cannot belong to the scene: wrong image size, impossible coordinates, all outside.
    """
    scene = frame.grid
    place = _placement(labels, frame)
    report = FitReport(not_areas=labels.not_areas, boxes=labels.boxes)
    numbers = _near(labels, scene, line_buffer) if shared else np.arange(len(labels.labels))
    placed = _widened(place(labels.geometries[numbers]), scene, line_buffer)
    areas = _in_scene(_Placed(placed, numbers, labels), scene.outline, report, shared)
    report.used.update(labels.first + int(number) for number in areas)
    if labels.labels and report.outside == len(labels.labels) and not shared:
        raise BadDataError(
            f"{labels.path.name}: none of its {_polygons(report.outside)} lies in the scene "
            f"(coordinates taken as {_coordinates(labels, scene)}); give the right file, or the right CRS in it"
        )
    meant = class_names or {}
    found = (_classified(area, labels.labels[number].name, classes, meant, report) for number, area in areas.items())
    table = AnnotationTable(tuple(polygon for polygon in found if polygon is not None))
    report.polygons = len(table)
    return table, report


def _near(labels: LabelFile, scene: Grid, line_buffer: float | None) -> NDArray[np.intp]:
    """Return the numbers of the labels that may meet the scene, by the file's spatial index."""
    everything = np.arange(len(labels.labels))
    if labels.crs is None or scene.crs is None:
        return everything
    box = ground_box(scene, labels.crs, margin_px=_buffer_px(scene, line_buffer))
    return everything if box is None else np.sort(labels.tree.query(box))


def _buffer_px(scene: Grid, line_buffer: float | None) -> float:
    return (line_buffer or 0.0) / min(pixel_size_m(scene) or (1.0, 1.0))


def _widened(placed: Geometries, scene: Grid, line_buffer: float | None) -> Geometries:
    """Return the geometries with lines made areas."""
    lines = np.flatnonzero(shapely.get_dimensions(placed) == 1)
    if not len(lines) or line_buffer is None:
        return placed
    # in metres on the ground, whatever the units of the CRS and however unequal the pixel's sides
    x, y = pixel_size_m(scene) or (1.0, 1.0)
    to_metres = Affine.scale(x, y) @ ~scene.transform
    widened = placed.copy()
    widened[lines] = moved(shapely.buffer(moved(placed[lines], to_metres), line_buffer), ~to_metres)
    return widened


@dataclass(frozen=True)
class _Placed:
    """Geometries in the scene's coordinates, with the numbers of their labels in the file."""

    geometries: Geometries
    numbers: NDArray[np.intp]
    labels: LabelFile


def _in_scene(placed: _Placed, outline: Area, report: FitReport, shared: bool) -> dict[int, Area]:
    """Return the valid areas that meet the scene, by the number of their label, in drawing order."""
    found: dict[int, Area] = {}
    valid = shapely.is_valid(placed.geometries) & (shapely.area(placed.geometries) > 0)
    shapely.prepare(outline)
    inside = valid & shapely.contains_properly(outline, placed.geometries)
    for i, number in enumerate(placed.numbers):
        area: Area | None = placed.geometries[i]
        if not valid[i]:
            if shared and not outline.intersects(shapely.box(*shapely.bounds(area))):
                continue
            area = repaired(area, f"{placed.labels.path.name}: polygon {placed.labels.first + number}")
            if area is None:
                report.empty += 1
                continue
        if not inside[i] and (not outline.intersects(area) or outline.touches(area)):
            report.outside += not shared
            continue
        report.repaired += not valid[i]
        found[int(number)] = area
    return found


def _classified(
    area: Area, name: str | None, classes: tuple[str, ...], meant: Mapping[str, str], report: FitReport
) -> LabelledPolygon | None:
    name = meant.get(name, name) if name is not None else None
    if name is None and len(classes) == 1:
        report.unnamed += 1
        name = classes[0]
    if name not in classes:
        report.unknown[name or "(none)"] += 1
        return None
    return LabelledPolygon(area, classes.index(name) + 1, name)


def _coordinates(labels: LabelFile, scene: Grid) -> str:
    return "pixels" if labels.crs is None or scene.crs is None else labels.crs


def _placement(labels: LabelFile, frame: SceneFrame) -> Carrier:
    scene = frame.grid
    if labels.crs is None and scene.crs is not None and labels.kind in ("GeoPackage", "Shapefile"):
        lacks = "has no .prj file" if labels.kind == "Shapefile" else "says no CRS"
        raise BadDataError(
            f"{labels.path.name} {lacks}, so nobody knows where its coordinates lie; add it, or say it in the project "
            "file (annotations: {crs: EPSG:…})"
        )
    if labels.crs is None or (scene.crs is None and not labels.crs_stated):
        return _pixel_placement(labels, frame)
    if scene.crs is None:
        raise BadDataError(
            f"{labels.path.name}: its coordinates are in {labels.crs} but the scene has no CRS; give the scene one (a "
            ".prj beside it, or gdal_translate -a_srs), or draw the labels in pixels"
        )
    _check_degrees(labels)
    return carrier(labels.crs, scene.crs, pixel_of(scene))


def _pixel_placement(labels: LabelFile, frame: SceneFrame) -> Carrier:
    scene, grid = frame.grid, frame.drawn_on[0]
    if labels.image_size is not None:
        fitting = [drawn for drawn in frame.drawn_on if (drawn.width, drawn.height) == labels.image_size]
        if not fitting:
            raise BadDataError(
                f"{labels.path.name}: drawn on an image of {labels.image_size[0]} x {labels.image_size[1]} pixels, but "
                f"the scene has {grid.width} x {grid.height}; label the scene itself, or scale the labels"
            )
        grid = fitting[0]
    if grid.crs is None or scene.crs is None:
        # both grids are pixels then: bring the drawn pixels to the scene's by their ratio, which is 1 unless resampled
        to_scene = Affine.scale(scene.width / grid.width, scene.height / grid.height)
        return lambda geometries: moved(geometries, to_scene)
    carry = carrier(grid.crs, scene.crs, pixel_of(scene))
    return lambda geometries: carry(moved(geometries, grid.transform))


def _check_degrees(labels: LabelFile) -> None:
    if labels.crs_stated or not labels.labels:
        return
    bounds = np.abs(shapely.total_bounds(labels.geometries))
    x, y = max(bounds[0], bounds[2]), max(bounds[1], bounds[3])
    if x > _DEGREES[0] or y > _DEGREES[1]:
        raise BadDataError(
            f"{labels.path.name}: coordinates up to {x:.0f}, {y:.0f} cannot be degrees, but a GeoJSON without a crs "
            "member is in EPSG:4326; export it in EPSG:4326, or add a crs member"
        )
