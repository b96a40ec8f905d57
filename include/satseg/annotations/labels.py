"""A label file as it was read, before it meets a scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shapely.geometry import GeometryCollection, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class RawLabel:
    """One area of a label file with the class name that stands there (None: no name)."""

    geometry: Polygon | MultiPolygon
    name: str | None


@dataclass(frozen=True)
class LabelFile:
    """A label file: coordinates are pixels (x = column, y = row) when `crs` is None.

    `image_size` is the (width, height) of the image the labels were drawn on, where the file says it.
    """

    path: Path
    kind: Literal["LabelMe", "GeoJSON"]
    crs: str | None
    crs_stated: bool
    image_size: tuple[int, int] | None
    labels: tuple[RawLabel, ...]
    not_areas: int = 0


def areas_of(geometry: BaseGeometry) -> Polygon | MultiPolygon | None:
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
