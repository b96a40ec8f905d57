"""Bringing the labels of a file onto one scene: coordinates, repair, extent, classes; everything dropped is counted."""

import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyproj
import shapely
from affine import Affine
from shapely.affinity import affine_transform
from shapely.geometry import MultiPolygon, Polygon

from satseg.annotations.labels import LabelFile, RawLabel, areas_of
from satseg.annotations.table import AnnotationTable, LabelledPolygon
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid

Area: TypeAlias = Polygon | MultiPolygon
_DEGREES = (180.0 + 1e-6, 90.0 + 1e-6)


@dataclass
class FitReport:
    """What happened to the labels of a file on one scene."""

    polygons: int = 0
    repaired: int = 0
    empty: int = 0
    outside: int = 0
    not_areas: int = 0
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
    labels: LabelFile, drawn_on: list[Grid], scene: Grid, classes: tuple[str, ...], shared: bool = False
) -> tuple[AnnotationTable, FitReport]:
    """Bring labels into a scene's coordinates and keep what is usable.

    Args:
        labels: a label file.
        drawn_on: grids of the image that pixel coordinates may refer to (the source, the scene); the file's image
            size chooses, otherwise the first counts. All of them cover the same ground.
        scene: the scene's grid.
        classes: the project's classes; ids count from 1.
        shared: the file serves a whole folder, so that labels elsewhere are expected.

    Returns:
        The table (scene coordinates) and the report.

    Raises:
        BadDataError: the labels cannot belong to the scene: wrong image size, impossible coordinates, all outside.
    """
    place = _placement(labels, drawn_on, scene)
    report = FitReport(not_areas=labels.not_areas)
    placed: list[tuple[Area, RawLabel]] = []
    outline = scene.outline
    shapely.prepare(outline)
    for number, label in enumerate(labels.labels):
        area = _in_scene(label, place, outline, report, shared)
        if area is not None:
            report.used.add(number)
            placed.append((area, label))
    if labels.labels and report.outside == len(labels.labels) and not shared:
        raise BadDataError(
            f"{labels.path.name}: none of its {_polygons(report.outside)} lies in the scene "
            f"(coordinates taken as {_coordinates(labels, scene)}); give the right file, or the right CRS in it"
        )
    polygons = [polygon for area, label in placed if (polygon := _classified(area, label, classes, report))]
    report.polygons = len(polygons)
    return AnnotationTable(tuple(polygons)), report


def _in_scene(
    label: RawLabel, place: Callable[[Area], Area], outline: Polygon, report: FitReport, shared: bool
) -> Area | None:
    area = place(label.geometry)
    valid = area.is_valid
    fixed = area if valid else areas_of(shapely.make_valid(area))
    if fixed is None or fixed.area == 0:
        if not shared or outline.intersects(area.envelope):
            report.empty += 1
        return None
    if not outline.intersects(fixed) or outline.touches(fixed):
        report.outside += not shared
        return None
    report.repaired += not valid
    return fixed


def _classified(area: Area, label: RawLabel, classes: tuple[str, ...], report: FitReport) -> LabelledPolygon | None:
    name = label.name
    if name is None and len(classes) == 1:
        report.unnamed += 1
        name = classes[0]
    if name not in classes:
        report.unknown[name or "(none)"] += 1
        return None
    return LabelledPolygon(area, classes.index(name) + 1, name)


def _coordinates(labels: LabelFile, scene: Grid) -> str:
    return "pixels" if labels.crs is None or scene.crs is None else labels.crs


def _placement(labels: LabelFile, drawn_on: list[Grid], scene: Grid) -> Callable[[Area], Area]:
    if labels.crs is None or (scene.crs is None and not labels.crs_stated):
        return _pixel_placement(labels, drawn_on, scene)
    if scene.crs is None:
        raise BadDataError(
            f"{labels.path.name}: its coordinates are in {labels.crs} but the scene has no CRS; give the scene one (a "
            ".prj beside it, or gdal_translate -a_srs), or draw the labels in pixels"
        )
    _check_degrees(labels)
    return _between(labels.crs, scene.crs)


def _pixel_placement(labels: LabelFile, drawn_on: list[Grid], scene: Grid) -> Callable[[Area], Area]:
    grid = drawn_on[0]
    if labels.image_size is not None:
        fitting = [candidate for candidate in drawn_on if (candidate.width, candidate.height) == labels.image_size]
        if not fitting:
            raise BadDataError(
                f"{labels.path.name}: drawn on an image of {labels.image_size[0]} x {labels.image_size[1]} pixels, but "
                f"the scene has {grid.width} x {grid.height}; label the scene itself, or scale the labels"
            )
        grid = fitting[0]
    if scene.crs is None:
        # both grids are pixels then: bring the drawn pixels to the scene's by their ratio, which is 1 unless resampled
        to_scene = Affine.scale(scene.width / grid.width, scene.height / grid.height)
    else:
        to_scene = grid.transform
    coefficients = [to_scene.a, to_scene.b, to_scene.d, to_scene.e, to_scene.c, to_scene.f]
    reproject = None if grid.crs == scene.crs else _between(str(grid.crs), str(scene.crs))

    def place(area: Area) -> Area:
        moved: Area = affine_transform(area, coefficients)
        return moved if reproject is None else reproject(moved)

    return place


def _between(source: str, target: str) -> Callable[[Area], Area]:
    if pyproj.CRS.from_user_input(source) == pyproj.CRS.from_user_input(target):
        return lambda area: area
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)

    def place(area: Area) -> Area:
        # a point the CRS cannot hold becomes infinite and would make the polygon invalid: it lies far outside
        moved: Area = shapely.transform(
            area, lambda xy: np.nan_to_num(np.column_stack(transformer.transform(*xy.T)), posinf=1e18, neginf=-1e18)
        )
        return moved

    return place


def _check_degrees(labels: LabelFile) -> None:
    if labels.crs_stated or not labels.labels:
        return
    bounds = np.abs(shapely.total_bounds([label.geometry for label in labels.labels]))
    x, y = max(bounds[0], bounds[2]), max(bounds[1], bounds[3])
    if x > _DEGREES[0] or y > _DEGREES[1]:
        raise BadDataError(
            f"{labels.path.name}: coordinates up to {x:.0f}, {y:.0f} cannot be degrees, but a GeoJSON without a crs "
            "member is in EPSG:4326; export it in EPSG:4326, or add a crs member"
        )
