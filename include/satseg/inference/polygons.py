"""From connected objects to the polygons people use: simplified, with true area and confidence, as GeoJSON."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import shapely
from shapely.geometry import mapping

from satseg.config.operation import InferenceConfig
from satseg.inference.components import Component
from satseg.inference.ground import Ground
from satseg.scenes.grid import Grid


@dataclass(frozen=True)
class PolygonRules:
    """What becomes a polygon of the map, in pixels for tracing and in metres for people."""

    tolerance_px: float  # of Douglas and Peucker's simplification
    min_area_m2: float
    nominal_pixel_m2: float  # of scenes without a CRS, whose true areas are unknown

    @property
    def least_pixels(self) -> int:
        """Objects of fewer pixels are surely too small; half the limit, as pixels shrink within a scene."""
        return max(1, int(0.5 * self.min_area_m2 / self.nominal_pixel_m2))


def polygon_rules(config: InferenceConfig, ground: Ground, gsd_m: float | None) -> PolygonRules:
    """Turn the project's limits in metres into pixels.

    A scene without a CRS is taken to have the model's `gsd_m`, and without that too a pixel counts as 1 m.
    """
    pixel_m2 = ground.pixel_m2 or (gsd_m or 1.0) ** 2
    return PolygonRules(config.simplify_m / math.sqrt(pixel_m2), config.min_area_m2, pixel_m2)


class Identity(NamedTuple):
    """What all polygons of a map have in common."""

    scene: str
    model_version: str
    classes: tuple[str, ...]


def polygon_features(
    components: Iterable[Component], ground: Ground, rules: PolygonRules, identity: Identity
) -> Iterator[dict[str, Any]]:
    """Yield a GeoJSON feature per object that is large enough, in the scene's CRS or else in pixels.

    The outline is simplified by Douglas and Peucker (1973) in the variant that keeps it valid.
    """
    number = 0
    for component in components:
        outline = shapely.simplify(component.polygon(), rules.tolerance_px, preserve_topology=True)
        polygon = shapely.orient_polygons(ground.to_scene(outline))  # RFC 7946: outer rings counter-clockwise
        area_m2 = ground.area_m2(polygon)
        if (outline.area * rules.nominal_pixel_m2 if area_m2 is None else area_m2) < rules.min_area_m2:
            continue
        number += 1
        properties: dict[str, Any] = {
            "id": number,
            "class": identity.classes[component.class_id - 1],
            "class_id": component.class_id,
            "area_m2": None if area_m2 is None else round(area_m2, 2),
            "area_px": round(outline.area, 1),
            "confidence": round(component.confidence, 4),
            "scene": identity.scene,
            "model_version": identity.model_version,
        }
        yield {"type": "Feature", "id": number, "properties": properties, "geometry": mapping(polygon)}


class PolygonTotals(NamedTuple):
    """What a polygon file holds."""

    objects: int
    area_m2: float | None


def geojson_crs(crs: str) -> str:
    """Return a CRS ("EPSG:3857" or WKT) as GDAL and QGIS read it in GeoJSON."""
    if crs == "EPSG:4326":
        return "urn:ogc:def:crs:OGC:1.3:CRS84"  # EPSG:4326 itself would mean latitude first
    return crs.replace("EPSG:", "urn:ogc:def:crs:EPSG::") if crs.startswith("EPSG:") else crs


def write_geojson(path: Path, features: Iterable[dict[str, Any]], grid: Grid) -> PolygonTotals:
    """Write features one per line as they come, coordinates to a ten-thousandth of a pixel."""
    head: dict[str, Any] = {"type": "FeatureCollection", "name": path.stem}
    if grid.crs is None:
        head["satseg:coordinates"] = "pixels"
    else:
        # RFC 7946 knows only longitude and latitude; GDAL and QGIS read this member of the 2008 form
        head["crs"] = {"type": "name", "properties": {"name": geojson_crs(grid.crs)}}
    pixel = math.sqrt(abs(grid.transform.determinant))
    decimals = max(0, math.ceil(-math.log10(pixel / 10_000)))
    objects, area_m2 = 0, 0.0
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        for feature in features:
            feature["geometry"]["coordinates"] = _rounded(feature["geometry"]["coordinates"], decimals)
            file.write((",\n" if objects else "\n") + json.dumps(feature, ensure_ascii=False))
            objects += 1
            area_m2 += feature["properties"]["area_m2"] or 0.0
        file.write("\n]}\n")
    return PolygonTotals(objects, None if grid.crs is None else round(area_m2, 2))


def read_features(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the features of a GeoJSON file, line by line when it was written so."""
    with path.open(encoding="utf-8") as file:
        if file.readline().rstrip().endswith('"features": ['):
            for line in file:
                if line.startswith("{"):
                    yield json.loads(line.rstrip().removesuffix(","))
            return
    yield from json.loads(path.read_text(encoding="utf-8"))["features"]


def _rounded(coordinates: Any, decimals: int) -> Any:
    if isinstance(coordinates, float | int):
        return round(coordinates, decimals)
    return [_rounded(part, decimals) for part in coordinates]
