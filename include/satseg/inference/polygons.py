"""From connected objects to the polygons people use: cleaned, simplified, with true area and confidence, as GeoJSON."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely.geometry import Polygon, mapping

from satseg.config.operation import InferenceConfig
from satseg.errors import ConfigurationError
from satseg.inference.components import Component
from satseg.inference.ground import Ground
from satseg.inference.squaring import squared
from satseg.scenes.grid import Grid, pixel_size_m

_WITHOUT_STAIRS_PX = 1.25


@dataclass(frozen=True)
class PolygonRules:
    """What becomes a polygon of the map, in pixels for tracing and in metres for people."""

    tolerance_px: float  # of the simplification
    min_area_m2: float
    nominal_pixel_m2: float  # of scenes without a CRS, whose true areas are unknown
    fill_holes_m2: float = 0.0
    square_ids: frozenset[int] = frozenset()
    pixel_sides: tuple[float, float] = (1.0, 1.0)  # along a row and a column, in any unit

    @property
    def least_pixels(self) -> int:
        """Objects of fewer pixels are surely too small; half the limit, as pixels shrink within a scene."""
        return max(1, int(0.5 * self.min_area_m2 / self.nominal_pixel_m2))


def polygon_rules(
    config: InferenceConfig, ground: Ground, gsd_m: float | None, classes: tuple[str, ...] = ()
) -> PolygonRules:
    """Turn the project's limits in metres into pixels.

    A scene without a CRS is taken to have the model's `gsd_m`, and without that too a pixel counts as 1 m.

    Raises:
        ConfigurationError: a class that shall be squared is none of `classes`.
    """
    if unknown := sorted(set(config.square_classes) - set(classes)):
        raise ConfigurationError(
            f"inference.square_classes names {', '.join(unknown)}; the model's classes are {', '.join(classes)}."
        )
    pixel_m2 = ground.pixel_m2 or (gsd_m or 1.0) ** 2
    return PolygonRules(
        tolerance_px=config.simplify_m / math.sqrt(pixel_m2),
        min_area_m2=config.min_area_m2,
        nominal_pixel_m2=pixel_m2,
        fill_holes_m2=config.min_area_m2 if config.fill_holes_m2 is None else config.fill_holes_m2,
        square_ids=frozenset(classes.index(name) + 1 for name in config.square_classes),
        pixel_sides=pixel_size_m(ground.grid) or (1.0, 1.0),
    )


class Identity(NamedTuple):
    """What all polygons of a map have in common."""

    scene: str
    model_version: str
    classes: tuple[str, ...]


def polygon_features(
    groups: Iterable[list[Component]], ground: Ground, rules: PolygonRules, identity: Identity
) -> Iterator[dict[str, Any]]:
    """Yield a GeoJSON feature per object that is large enough, in the scene's CRS or else in pixels."""
    number = 0
    for group in groups:
        for component, outline in zip(group, _outlines(group, rules), strict=True):
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
                "confidence_min": round(component.least_probability, 4),
                "scene": identity.scene,
                "model_version": identity.model_version,
            }
            yield {"type": "Feature", "id": number, "properties": properties, "geometry": mapping(polygon)}


def _outlines(group: list[Component], rules: PolygonRules) -> list[Polygon]:
    """Return the objects of a group in pixels, with small holes filled, simplified and, where wanted, squared.

    An object by itself is simplified by Douglas and Peucker (1973) in the variant that keeps it valid; neighbours keep
    their common borders (GEOS's coverage simplification, after Visvalingam and Whyatt 1993) and are not squared.
    """
    outlines = [_filled(component.polygon(), rules) for component in group]
    if len(outlines) > 1:
        # neighbours must have the same vertices along their border: one at each corner of a pixel
        matched = shapely.transform(shapely.segmentize(outlines, 1.0), np.rint)
        return list(shapely.coverage_simplify(matched, rules.tolerance_px))
    simple = _simplified(outlines[0], rules.tolerance_px)
    return [_squared(simple, rules) if group[0].class_id in rules.square_ids else simple]


def _simplified(outline: Polygon, tolerance_px: float) -> Polygon:
    """Simplify, in the variant that looks after validity (6 times as slow) only where the plain one breaks it."""
    plain = shapely.simplify(outline, tolerance_px, preserve_topology=False)
    whole = isinstance(plain, Polygon) and not plain.is_empty and len(plain.interiors) == len(outline.interiors)
    if whole and plain.is_valid:
        return plain
    return shapely.simplify(outline, tolerance_px, preserve_topology=True)


def _filled(outline: Polygon, rules: PolygonRules) -> Polygon:
    kept = [ring for ring in outline.interiors if Polygon(ring).area * rules.nominal_pixel_m2 >= rules.fill_holes_m2]
    return outline if len(kept) == len(outline.interiors) else Polygon(outline.exterior, kept)


def _squared(outline: Polygon, rules: PolygonRules) -> Polygon:
    sides = np.array(rules.pixel_sides) / math.sqrt(math.prod(rules.pixel_sides))  # right angles on the ground
    # the staircase of the pixels must be gone before a wall's direction can be seen
    smooth = shapely.simplify(outline, _WITHOUT_STAIRS_PX, preserve_topology=True)
    stretched = shapely.transform(smooth, lambda xy: xy * sides)
    right = squared(stretched, 2 * _WITHOUT_STAIRS_PX)
    return outline if right is stretched else shapely.transform(right, lambda xy: xy / sides)


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
