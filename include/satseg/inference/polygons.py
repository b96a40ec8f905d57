"""From connected objects to the polygons people use: cleaned, simplified, with true area and confidence."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from satseg.config.operation import InferenceConfig
from satseg.errors import ConfigurationError
from satseg.inference.components import Component
from satseg.inference.geojson import MapObject
from satseg.inference.ground import Ground
from satseg.inference.squaring import squared
from satseg.scenes.grid import pixel_size_m

_WITHOUT_STAIRS_PX = 1.25
_GROUPS_AT_ONCE = 256


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


def map_objects(
    groups: Iterable[list[Component]], ground: Ground, rules: PolygonRules, identity: Identity
) -> Iterator[MapObject]:
    """Yield the objects that are large enough, some groups at a time: shapely is fast with many polygons only."""
    number, waiting = 0, iter(groups)
    while some := list(islice(waiting, _GROUPS_AT_ONCE)):
        components = [component for group in some for component in group]
        outlines = _outlines(some, rules)
        polygons = shapely.orient_polygons(ground.to_scene(outlines))  # RFC 7946: outer rings counter-clockwise
        areas_m2, areas_px = ground.areas_m2(polygons), shapely.area(outlines)
        large = (areas_px * rules.nominal_pixel_m2 if areas_m2 is None else areas_m2) >= rules.min_area_m2
        for place in np.flatnonzero(large).tolist():
            number += 1
            component = components[place]
            properties = {
                "id": number,
                "class": identity.classes[component.class_id - 1],
                "class_id": component.class_id,
                "area_m2": None if areas_m2 is None else round(float(areas_m2[place]), 2),
                "area_px": round(float(areas_px[place]), 1),
                "confidence": round(component.confidence, 4),
                "confidence_min": round(component.least_probability, 4),
                "scene": identity.scene,
                "model_version": identity.model_version,
            }
            yield MapObject(polygons[place], properties)


def _outlines(groups: list[list[Component]], rules: PolygonRules) -> NDArray[np.object_]:
    """Return the objects of some groups in pixels, with small holes filled, simplified and, where wanted, squared.

    An object by itself is simplified by Douglas and Peucker (1973) in the variant that keeps it valid; neighbours keep
    their common borders (GEOS's coverage simplification, after Visvalingam and Whyatt 1993) and are not squared.
    """
    outlines = np.array([_filled(component.polygon(), rules) for group in groups for component in group])
    sizes = np.array([len(group) for group in groups])
    first = np.cumsum(sizes) - sizes
    for start, size in zip(first[sizes > 1], sizes[sizes > 1], strict=True):
        # neighbours must have the same vertices along their border: one at each corner of a pixel
        matched = shapely.transform(shapely.segmentize(outlines[start : start + size], 1.0), np.rint)
        outlines[start : start + size] = shapely.coverage_simplify(matched, rules.tolerance_px)
    alone = first[sizes == 1]
    outlines[alone] = _simplified(outlines[alone], rules.tolerance_px)
    for group, place in zip(groups, first, strict=True):
        if len(group) == 1 and group[0].class_id in rules.square_ids:
            outlines[place] = _squared(outlines[place], rules)
    return outlines


def _simplified(outlines: NDArray[np.object_], tolerance_px: float) -> NDArray[np.object_]:
    """Simplify, in the variant that looks after validity (6 times as slow) only where the plain one breaks it."""
    simple: NDArray[np.object_] = shapely.simplify(outlines, tolerance_px, preserve_topology=False)
    broken = (shapely.get_num_interior_rings(simple) != shapely.get_num_interior_rings(outlines)) | (
        (shapely.get_type_id(simple) != shapely.GeometryType.POLYGON)
        | shapely.is_empty(simple)
        | ~shapely.is_valid(simple)
    )
    simple[broken] = shapely.simplify(outlines[broken], tolerance_px, preserve_topology=True)
    return simple


def _filled(outline: Polygon, rules: PolygonRules) -> Polygon:
    if not shapely.get_num_interior_rings(outline):
        return outline
    kept = [ring for ring in outline.interiors if Polygon(ring).area * rules.nominal_pixel_m2 >= rules.fill_holes_m2]
    return outline if len(kept) == len(outline.interiors) else Polygon(outline.exterior, kept)


def _squared(outline: Polygon, rules: PolygonRules) -> Polygon:
    sides = np.array(rules.pixel_sides) / math.sqrt(math.prod(rules.pixel_sides))  # right angles on the ground
    # the staircase of the pixels must be gone before a wall's direction can be seen
    smooth = shapely.simplify(outline, _WITHOUT_STAIRS_PX, preserve_topology=True)
    stretched = shapely.transform(smooth, lambda xy: xy * sides)
    right = squared(stretched, 2 * _WITHOUT_STAIRS_PX)
    return outline if right is stretched else shapely.transform(right, lambda xy: xy / sides)
