"""A label file as it was read, before it meets a scene."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import GeometryCollection, LineString, MultiLineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from satseg.errors import BadDataError
from satseg.scenes.grid import Grid

Area: TypeAlias = Polygon | MultiPolygon
Line: TypeAlias = LineString | MultiLineString
Geometries: TypeAlias = NDArray[np.object_]
Kind = Literal["LabelMe", "GeoJSON", "GeoPackage", "Shapefile", "COCO", "mask"]
_ONE_IMAGE = ("LabelMe", "COCO", "mask")
_MAX_NAME = 100


@dataclass(frozen=True)
class RawLabel:
    """One area (or a line to be widened) of a label file with the class name that stands there (None: no name)."""

    geometry: Area | Line
    name: str | None


@dataclass(frozen=True)
class SceneFrame:
    """The scene a label file is asked about.

    `file_names` are the names people know its image by; `drawn_on` are the grids that pixel coordinates may refer to
    (the source's first, then the scene's), all of the same ground; `own_file` says that the label file is called like
    the scene.
    """

    file_names: tuple[str, ...]
    grid: Grid
    drawn_on: tuple[Grid, ...]
    own_file: bool = True


@dataclass(frozen=True)
class LabelFile:
    """Labels in one coordinate system: pixels (x = column, y = row) when `crs` is None.

    `image_size` is the (width, height) of the image the labels were drawn on, where the file says it. `first` is the
    number of the first label within the whole file. `boxes` counts annotations that are a bounding box and no area.
    """

    path: Path
    kind: Kind
    crs: str | None
    crs_stated: bool
    image_size: tuple[int, int] | None
    labels: tuple[RawLabel, ...]
    not_areas: int = 0
    boxes: int = 0
    first: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> int:
        """Labels in the file."""
        return len(self.labels)

    @property
    def of_one_image(self) -> bool:
        """Whether the labels belong to one image, so that none of them is expected elsewhere."""
        return self.kind in _ONE_IMAGE

    @cached_property
    def geometries(self) -> Geometries:
        """The geometries of all labels."""
        found = np.empty(len(self.labels), dtype=object)
        found[:] = [label.geometry for label in self.labels]
        return found

    @cached_property
    def tree(self) -> Any:
        """A spatial index of the labels, so that a file for many scenes is not searched from end to end by each."""
        return shapely.STRtree(self.geometries)

    def for_scene(self, frame: SceneFrame) -> "LabelFile | None":
        """Return the labels that may lie in a scene: all of them."""
        del frame
        return self


def drawable(geometry: BaseGeometry, lines: bool) -> Area | Line | None:
    """Return the polygonal part of a geometry, else its lines where `lines` are wanted, else None."""
    area = areas_of(geometry)
    if area is not None or not lines:
        return area
    strings = [part for part in shapely.get_parts(geometry) if isinstance(part, LineString) and not part.is_empty]
    if not strings:
        return None
    return strings[0] if len(strings) == 1 else MultiLineString(strings)


def areas_of(geometry: BaseGeometry) -> Area | None:
    """Return the polygonal part of a geometry, None when it has none (points, lines, nothing)."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return None if geometry.is_empty else geometry
    if not isinstance(geometry, GeometryCollection):
        return None
    parts: list[Polygon] = []
    for part in geometry.geoms:
        found = areas_of(part)
        if found is not None:
            parts.extend(found.geoms if isinstance(found, MultiPolygon) else [found])
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def class_text(value: Any) -> str | None:
    """Return what a file says about a class as printable text; None for nothing.

    Half characters (lone surrogates), which JSON allows and UTF-8 does not, become question marks.
    """
    if value is None or value != value:  # noqa: PLR0124 - a missing value of a column is NaN
        return None
    return str(value)[:_MAX_NAME].encode("utf-8", "replace").decode() or None


def check_finite(geometry: BaseGeometry, path: Path, what: str) -> None:
    """Refuse a coordinate that is no number.

    Raises:
        BadDataError: a coordinate is NaN or infinite.
    """
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise BadDataError(
            f"{path.name}: {what} has a coordinate that is not a finite number; draw it again or remove it"
        )
