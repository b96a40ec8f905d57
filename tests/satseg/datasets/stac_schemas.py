"""JSON Schemas of the STAC extensions that the dataset's items name, for validation without a network.

pystac ships the schemas of the STAC core, but no package ships those of the extensions. These were written for the
tests from the field tables of the extensions' specifications (projection 2.0.0, file 2.1.0, eo 1.1.0, raster 1.1.0,
label 1.0.1): every field of the prefix must be known and of the right type.
"""

from typing import Any

Schema = dict[str, Any]

_COMMON_NAMES = [
    *("coastal", "blue", "green", "green05", "red", "yellow", "pan", "rededge", "rededge071", "rededge075"),
    *("rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"),
]
_DATA_TYPES = [
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"),
    *("cint16", "cint32", "cfloat32", "cfloat64", "other"),
]


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    shape = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return shape | more


def _only(prefix: str, fields: Schema) -> Schema:
    """Return the schema of an object that may hold these fields of a prefix, and any without it."""
    return {
        "type": "object",
        "properties": fields,
        "patternProperties": {f"^(?!{prefix}:)": {}},
        "additionalProperties": False,
    }


def _extension(uri: str, fields: Schema | None = None, assets: Schema | None = None) -> Schema:
    shape: Schema = {"stac_extensions": {"type": "array", "contains": {"const": uri}}}
    if fields is not None:
        shape["properties"] = fields
    if assets is not None:
        shape["assets"] = {"type": "object", "additionalProperties": assets}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": uri,
        "type": "object",
        "required": ["stac_extensions"],
        "properties": shape,
    }


def _projection(uri: str) -> Schema:
    text = {"type": ["string", "null"]}
    number = {"type": "number"}
    fields = {
        "proj:code": text | {"pattern": "^[A-Za-z0-9_]+:[A-Za-z0-9._-]+$"},
        "proj:wkt2": text,
        "proj:projjson": {"type": ["object", "null"]},
        "proj:geometry": {"$ref": "https://geojson.org/schema/Geometry.json"},
        "proj:bbox": {"oneOf": [_list(number, minItems=n, maxItems=n) for n in (4, 6)]},
        "proj:centroid": _object({"lat": number, "lon": number}, ("lat", "lon")),
        "proj:shape": _list({"type": "integer", "minimum": 1}, minItems=2, maxItems=2),
        "proj:transform": {"oneOf": [_list(number, minItems=n, maxItems=n) for n in (6, 9)]},
    }
    given = {"anyOf": [{"required": [name]} for name in fields]}
    return _extension(uri, _only("proj", fields) | given, _only("proj", fields))


def _file(uri: str) -> Schema:
    size = {"type": "integer", "minimum": 0}
    fields = {
        "file:byte_order": {"enum": ["big-endian", "little-endian"]},
        "file:checksum": {"type": "string", "pattern": "^1220[0-9a-f]{64}$"},  # multihash: SHA-256
        "file:header_size": size,
        "file:size": size,
        "file:local_path": {"type": "string", "pattern": r"^[^\\]+$"},
    }
    return _extension(uri, assets=_only("file", fields))


def _eo(uri: str) -> Schema:
    number = {"type": "number"}
    band = _object(
        {
            "name": {"type": "string"},
            "common_name": {"enum": _COMMON_NAMES},
            "description": {"type": "string"},
            "center_wavelength": number,
            "full_width_half_max": number,
            "solar_illumination": number,
        },
        minProperties=1,
    )
    percent = {"type": "number", "minimum": 0, "maximum": 100}
    fields = {"eo:bands": _list(band, minItems=1), "eo:cloud_cover": percent, "eo:snow_cover": percent}
    return _extension(uri, _only("eo", fields), _only("eo", fields))


def _raster(uri: str) -> Schema:
    number = {"type": "number"}
    statistics = dict.fromkeys(("mean", "minimum", "maximum", "stddev", "valid_percent"), number)
    histogram = {"count": number, "min": number, "max": number, "buckets": _list({"type": "integer"})}
    band = _object(
        {
            "nodata": {"oneOf": [number, {"enum": ["nan", "inf", "-inf"]}]},
            "sampling": {"enum": ["area", "point"]},
            "data_type": {"enum": _DATA_TYPES},
            "bits_per_sample": number,
            "spatial_resolution": number,
            "statistics": _object(statistics, minProperties=1),
            "unit": {"type": "string"},
            "scale": number,
            "offset": number,
            "histogram": _object(histogram, tuple(histogram)),
        }
    )
    return _extension(uri, assets=_only("raster", {"raster:bands": _list(band, minItems=1)}))


def _label(uri: str) -> Schema:
    text = {"type": "string"}
    words = _list(text)
    classes = _object(
        {"name": {"type": ["string", "null"]}, "classes": _list({"type": ["string", "number"]})}, ("name", "classes")
    )
    count = _object({"name": text, "count": {"type": "integer", "minimum": 0}})
    statistic = _object({"name": text, "value": {"type": "number"}})
    fields = {
        "label:properties": {"oneOf": [words, {"type": "null"}]},
        "label:classes": _list(classes),
        "label:description": text,
        "label:type": {"enum": ["vector", "raster"]},
        "label:tasks": words,
        "label:methods": words,
        "label:overviews": _list(
            _object({"property_key": text, "counts": _list(count), "statistics": _list(statistic)})
        ),
    }
    required = {"required": ["label:properties", "label:classes", "label:description", "label:type"]}
    return _extension(uri, _only("label", fields) | required)


_EXTENSIONS = {"projection": _projection, "file": _file, "eo": _eo, "raster": _raster, "label": _label}
_VERSIONS = {"projection": "2.0.0", "file": "2.1.0", "eo": "1.1.0", "raster": "1.1.0", "label": "1.0.1"}


def extension_schemas() -> dict[str, Schema]:
    """Return the schemas by the address that an item's `stac_extensions` gives."""
    found = {}
    for name, make in _EXTENSIONS.items():
        uri = f"https://stac-extensions.github.io/{name}/v{_VERSIONS[name]}/schema.json"
        found[uri] = make(uri)
    return found
