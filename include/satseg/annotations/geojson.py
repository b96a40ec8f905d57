"""GeoJSON: features with areas, in EPSG:4326 unless a `crs` member says otherwise."""

from pathlib import Path
from typing import Any

import pyproj
import shapely
from shapely.geometry import shape

from satseg.annotations.labels import LabelFile, RawLabel, check_finite, class_text, drawable
from satseg.errors import BadDataError

DEFAULT_CRS = "EPSG:4326"


def parse_geojson(tree: dict[str, Any], path: Path, class_property: str, lines: bool = False) -> LabelFile:
    """Read the areas of a GeoJSON file (polygons, multipolygons, collections of them), and lines where wanted.

    Other geometries are counted.

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
            drawn = None if geometry is None else drawable(shapely.force_2d(shape(geometry)), lines)
            name = class_text((feature.get("properties") or {}).get(class_property))
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            OverflowError,
            RecursionError,
            shapely.errors.ShapelyError,
        ) as error:
            raise BadDataError(
                f"{path.name}: feature {number} cannot be read ({type(error).__name__}: {error}); export the file again"
            ) from error
        if drawn is not None:
            check_finite(drawn, path, f"feature {number}")
            labels.append(RawLabel(drawn, name))
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
    return crs_text(crs)


def crs_text(crs: pyproj.CRS) -> str:
    """Return "EPSG:<code>" where there is one, otherwise WKT."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())
