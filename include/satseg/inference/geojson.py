"""The objects of a map as GeoJSON: written as they come, read some at a time."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, shape

from satseg.scenes.grid import Grid

_READ_AT_ONCE = 1_000  # objects may have thousands of corners


class MapObject(NamedTuple):
    """An object of a map: its polygon in the scene's CRS or else in pixels, and what is said about it."""

    polygon: Polygon
    properties: dict[str, Any]


class PolygonTotals(NamedTuple):
    """What a polygon file holds."""

    objects: int
    area_m2: float | None


def geojson_crs(crs: str) -> str:
    """Return a CRS ("EPSG:3857" or WKT) as GDAL and QGIS read it in GeoJSON."""
    if crs == "EPSG:4326":
        return "urn:ogc:def:crs:OGC:1.3:CRS84"  # EPSG:4326 itself would mean latitude first
    return crs.replace("EPSG:", "urn:ogc:def:crs:EPSG::") if crs.startswith("EPSG:") else crs


def write_geojson(path: Path, objects: Iterable[MapObject], grid: Grid) -> PolygonTotals:
    """Write objects one per line as they come, coordinates to a ten-thousandth of a pixel."""
    head: dict[str, Any] = {"type": "FeatureCollection", "name": path.stem}
    if grid.crs is None:
        head["satseg:coordinates"] = "pixels"
    else:
        # RFC 7946 knows only longitude and latitude; GDAL and QGIS read this member of the 2008 form
        head["crs"] = {"type": "name", "properties": {"name": geojson_crs(grid.crs)}}
    pixel = math.sqrt(abs(grid.transform.determinant))
    decimals = max(0, math.ceil(-math.log10(pixel / 10_000)))
    count, area_m2, separator = 0, 0.0, "\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        for polygon, properties in objects:
            feature = {"type": "Feature", "id": properties["id"], "properties": properties}
            about = json.dumps(feature, ensure_ascii=False)[:-1]
            # json and Python's round take ten times as long for the coordinates
            geometry = shapely.to_geojson(shapely.transform(polygon, lambda xy: np.round(xy, decimals)))
            file.write(f'{separator}{about}, "geometry": {geometry}}}')
            separator = ",\n"
            count += 1
            area_m2 += properties["area_m2"] or 0.0
        file.write("\n]}\n")
    return PolygonTotals(count, None if grid.crs is None else round(area_m2, 2))


def read_objects(path: Path) -> Iterator[tuple[NDArray[np.object_], list[dict[str, Any]]]]:
    """Yield polygons and their properties, some at a time when the GeoJSON file was written by `write_geojson`."""
    with path.open(encoding="utf-8") as file:
        if file.readline().rstrip().endswith('"features": ['):
            lines = (line.rstrip().removesuffix(",") for line in file if line.startswith("{"))
            while some := list(islice(lines, _READ_AT_ONCE)):
                # quotes within a text are escaped, so this is found between the two only
                halves = [line.split(', "geometry": ') for line in some]
                polygons = shapely.from_geojson([geometry.removesuffix("}") for _, geometry in halves])
                yield polygons, [json.loads(about + "}")["properties"] for about, _ in halves]
            return
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    yield np.array([shape(feature["geometry"]) for feature in features], object), [f["properties"] for f in features]
