"""The polygons of a map in the formats people ask for, made from the GeoJSON in pieces of bounded size."""

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import shapely

from satseg.inference.geojson import read_objects


class PolygonFormat(NamedTuple):
    """A file of polygons."""

    file: str
    media_type: str
    title: str


FORMATS = {
    "geojson": PolygonFormat("polygons.geojson", "application/geo+json", "Objects as polygons"),
    "geoparquet": PolygonFormat(
        "polygons.parquet", "application/vnd.apache.parquet", "Objects as polygons, GeoParquet"
    ),
    "geopackage": PolygonFormat("polygons.gpkg", "application/geopackage+sqlite3", "Objects as polygons, GeoPackage"),
}
_FIELDS = {
    "id": "int64",
    "class": "string",
    "class_id": "int32",
    "area_m2": "double",
    "area_px": "double",
    "confidence": "double",
    "confidence_min": "double",
    "scene": "string",
    "model_version": "string",
}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Piece(NamedTuple):
    """Some polygons: WKB, bounds (N, 4), and the values of each field."""

    wkb: list[bytes]
    bounds: Any
    values: dict[str, list[Any]]


def write_formats(geojson: Path, formats: Sequence[str], crs: str | None) -> None:
    """Write the polygons of a GeoJSON file beside it in the wanted formats; it is removed when it is none of them.

    Args:
        geojson: as written by `write_geojson`.
        formats: keys of FORMATS.
        crs: "EPSG:<code>" or WKT; None for pixels.
    """
    if "geoparquet" in formats:
        _write_geoparquet(geojson, geojson.with_name(FORMATS["geoparquet"].file), crs)
    if "geopackage" in formats:
        _write_geopackage(geojson, geojson.with_name(FORMATS["geopackage"].file), crs)
    if "geojson" not in formats:
        geojson.unlink()


def _pieces(geojson: Path) -> Iterator[_Piece]:
    for polygons, properties in read_objects(geojson):
        values = {name: [of_one[name] for of_one in properties] for name in _FIELDS}
        yield _Piece(shapely.to_wkb(polygons).tolist(), shapely.bounds(polygons), values)


def _write_geoparquet(geojson: Path, target: Path, crs: str | None) -> None:
    """Write GeoParquet 1.1: WKB in x, y order, with a bounding box per row by which readers skip row groups."""
    import pyarrow as pa
    from pyarrow import parquet

    box = pa.struct([(corner, pa.float64()) for corner in _CORNERS])
    fields = [(name, getattr(pa, kind)() if kind != "double" else pa.float64()) for name, kind in _FIELDS.items()]
    about = json.dumps(_about_geometry(crs, _bounds(geojson)))
    # in the schema, because pyarrow does not show what is added to the file at its end
    schema = pa.schema([*fields, ("bbox", box), ("geometry", pa.binary())])
    schema = schema.with_metadata({"geo": about, "satseg:coordinates": crs or "pixels"})
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for piece in _pieces(geojson):
            boxes = pa.StructArray.from_arrays(list(piece.bounds.T), fields=list(box))
            columns = [pa.array(piece.values[name], kind) for name, kind in fields]
            writer.write_batch(pa.record_batch([*columns, boxes, pa.array(piece.wkb, pa.binary())], schema=schema))


def _bounds(geojson: Path) -> list[float] | None:
    bounds = [shapely.total_bounds(polygons) for polygons, _ in read_objects(geojson)]
    if not bounds:
        return None
    whole = np.array(bounds)
    return [*whole[:, :2].min(0).tolist(), *whole[:, 2:].max(0).tolist()]


def _about_geometry(crs: str | None, bounds: list[float] | None) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"] if bounds else [],
        "crs": None if crs is None else pyproj.CRS.from_user_input(crs).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
    }
    if bounds:
        column["bbox"] = bounds
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _write_geopackage(geojson: Path, target: Path, crs: str | None) -> None:
    from pyogrio import raw

    empty = _Piece([], None, {name: [] for name in _FIELDS})
    for number, piece in enumerate(_pieces(geojson) if _any(geojson) else [empty]):
        masks = [np.array([value is None for value in values]) for values in piece.values.values()]
        data = [
            np.array([_FILLER[kind] if value is None else value for value in piece.values[name]], _NUMPY[kind])
            for name, kind in _FIELDS.items()
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that pixels have no CRS
            raw.write(
                target,
                np.array(piece.wkb, object),
                data,
                list(_FIELDS),
                field_mask=masks,
                layer="polygons",
                driver="GPKG",
                geometry_type="Polygon",
                crs=crs,
                append=number > 0,
            )


_NUMPY: dict[str, Any] = {"int64": np.int64, "int32": np.int32, "double": np.float64, "string": object}
_FILLER: dict[str, Any] = {"int64": 0, "int32": 0, "double": np.nan, "string": None}


def _any(geojson: Path) -> bool:
    return next(read_objects(geojson), None) is not None
