"""GeoJSON: features with areas, in EPSG:4326 unless a `crs` member says otherwise."""

import math
from pathlib import Path
from typing import Any

import pyproj
import shapely
from shapely.geometry import shape

from satseg.annotations.labels import LabelFile, RawLabel, areas_of
from satseg.errors import BadDataError

DEFAULT_CRS = "EPSG:4326"


def parse_geojson(tree: dict[str, Any], path: Path, class_property: str) -> LabelFile:
    """Read the areas of a GeoJSON file (polygons, multipolygons, collections of them); other geometries are counted.

    Raises:
        BadDataError: the file has not GeoJSON's form, or its CRS is unknown.
    """
    features = tree.get("features") if tree.get("type") == "FeatureCollection" else [tree]
    if not isinstance(features, list):
        raise BadDataError(f"{path.name}: 'features' is not a list, so this is no GeoJSON; export it again")
    labels: list[RawLabel] = []
    for number, feature in enumerate(features):
        try:
            geometry = feature["geometry"]
            area = None if geometry is None else areas_of(shapely.force_2d(shape(geometry)))
            name = (feature.get("properties") or {}).get(class_property)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError) as error:
            raise BadDataError(
                f"{path.name}: feature {number} cannot be read ({type(error).__name__}: {error}); export the file again"
            ) from error
        if area is not None:
            if not all(math.isfinite(value) for value in area.bounds):
                raise BadDataError(f"{path.name}: feature {number} has a coordinate that is not a finite number")
            labels.append(RawLabel(area, None if name is None else str(name)))
    stated = tree.get("crs") is not None
    pixels = tree.get("satseg:coordinates") == "pixels"
    return LabelFile(
        path=path,
        kind="GeoJSON",
        crs=None if pixels else _crs(tree["crs"], path) if stated else DEFAULT_CRS,
        crs_stated=stated,
        image_size=None,
        labels=tuple(labels),
        not_areas=len(features) - len(labels),
    )


def _crs(member: Any, path: Path) -> str:
    try:
        name = str(member["properties"]["name"])
        crs = pyproj.CRS.from_user_input(name)
    except (KeyError, TypeError, pyproj.exceptions.CRSError) as error:
        raise BadDataError(
            f'{path.name}: its crs member {member!r} is unknown; write it like "urn:ogc:def:crs:EPSG::32636" or export '
            f"the file in {DEFAULT_CRS} without one"
        ) from error
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.to_wkt()
