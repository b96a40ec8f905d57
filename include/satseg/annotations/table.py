"""The one form labels have inside satseg: polygons with classes, in the scene's coordinates."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping, shape

from satseg.errors import BadDataError
from satseg.storage.atomic import replacing_file


@dataclass(frozen=True)
class LabelledPolygon:
    """One annotated area.

    The geometry is in the scene's CRS, or in pixels (x = column, y = row) for a scene without one; class ids
    count from 1.
    """

    geometry: Polygon | MultiPolygon
    class_id: int
    class_name: str


@dataclass(frozen=True)
class AnnotationTable:
    """All annotations of a scene, in drawing order: where polygons overlap the later one wins."""

    polygons: tuple[LabelledPolygon, ...] = ()

    def __len__(self) -> int:
        return len(self.polygons)

    def __iter__(self) -> Iterator[LabelledPolygon]:
        return iter(self.polygons)


def _feature(polygon: LabelledPolygon) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"class": polygon.class_name, "class_id": polygon.class_id},
        "geometry": mapping(polygon.geometry),
    }


def write_table(table: AnnotationTable, path: Path, crs: str | None) -> None:
    """Write the table as GeoJSON, one feature per line, atomically; equal tables give equal bytes.

    Args:
        table: the annotations.
        path: target file.
        crs: CRS of the coordinates ("EPSG:3857"), None for pixel coordinates.
    """
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if crs is None:
        head["satseg:coordinates"] = "pixels"
    else:
        # RFC 7946 knows only longitude and latitude; GDAL and QGIS read this member of the 2008 form
        head["crs"] = {"type": "name", "properties": {"name": crs}}
    with replacing_file(path) as temp, temp.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [\n')
        for number, polygon in enumerate(table):
            file.write((",\n" if number else "") + json.dumps(_feature(polygon), ensure_ascii=False))
        file.write("\n]}\n")


def read_table(path: Path) -> AnnotationTable:
    """Read a table that `write_table` wrote.

    Raises:
        BadDataError: the file is missing or not such a table.
    """
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        polygons = [
            LabelledPolygon(
                geometry=shape(feature["geometry"]),
                class_id=int(feature["properties"]["class_id"]),
                class_name=str(feature["properties"]["class"]),
            )
            for feature in features
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise BadDataError(f"{path} is not an annotation table ({type(error).__name__}: {error}).") from error
    return AnnotationTable(tuple(polygons))
