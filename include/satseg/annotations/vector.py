"""GeoPackage and Shapefile, read by GDAL through pyogrio."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from satseg.annotations.geojson import crs_text
from satseg.annotations.labels import LabelFile, RawLabel, check_finite, class_text, drawable
from satseg.annotations.shapefile import check_shapefile
from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError

GEOPACKAGE_JOURNALS = (".gpkg-wal", ".gpkg-shm", ".gpkg-journal")
_MAGIC: dict[str, tuple[bytes, Literal["GeoPackage", "Shapefile"]]] = {
    ".gpkg": (b"SQLite format 3\0", "GeoPackage"),
    ".shp": (b"\0\0\x27\x0a", "Shapefile"),
}
_AREAS = ("Polygon", "Surface", "Collection", "Unknown", "Geometry")
_DBF_NAME = 10


def read_vector(path: Path, how: AnnotationConfig) -> LabelFile:
    """Read the areas of a GeoPackage layer or a Shapefile, and its lines where wanted; other geometries are counted.

    Args:
        path: a .gpkg or .shp file.
        how: gives class_property, layer, the CRS of files without one, and whether lines count.

    Raises:
        BadDataError: damaged, incomplete, several layers that could be meant, or an unknown CRS.
    """
    import pyogrio

    magic, kind = _MAGIC[path.suffix.lower()]
    _check_start(path, magic, kind)
    if kind == "Shapefile":
        check_shapefile(path)
    else:
        _check_closed(path)
    # immutable: not even a lock file is written beside a source
    options = {"IMMUTABLE": "YES"} if kind == "GeoPackage" else {}
    try:
        layer = _layer(path, how, kind)
        info = pyogrio.read_info(path, layer=layer, **options)
        column = _column(list(info["fields"]), how.class_property, kind)
        _, _, wkb, fields = pyogrio.raw.read(
            path, layer=layer, columns=[column] if column else [], force_2d=True, **options
        )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, ValueError, RuntimeError) as error:
        raise BadDataError(
            f"{path.name} cannot be read as a {kind} ({str(error).splitlines()[0]}): it is damaged or truncated; "
            "export it again"
        ) from error
    labels, not_areas = _labels(path, wkb, fields[0] if column else None, how.line_buffer is not None)
    crs = _crs(info["crs"], how, path)
    return LabelFile(
        path=path,
        kind=kind,
        crs=crs,
        crs_stated=crs is not None,
        image_size=None,
        labels=labels,
        not_areas=not_areas,
    )


def _check_start(path: Path, magic: bytes, kind: str) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(len(magic))
    except OSError as error:
        raise BadDataError(f"{path.name} cannot be read ({error.strerror}); correct its permissions") from error
    if start != magic:
        # by content, and never GDAL's own choice: a text file of this name could open other files
        raise BadDataError(f"{path.name} is not a {kind}, whatever its name says (it starts with {start!r})")


def _check_closed(path: Path) -> None:
    journal = path.with_name(f"{path.name}-wal")
    if journal.is_file() and journal.stat().st_size:
        raise BadDataError(
            f"{path.name} is open in another program, which holds changes in {journal.name}; close it there (QGIS: "
            "remove the layer) and ingest again"
        )


def _layer(path: Path, how: AnnotationConfig, kind: str) -> str | None:
    """Return the layer to read: the named one, the only one with areas, or the one called like the file."""
    if kind == "Shapefile":
        return None
    layers = _geopackage_layers(path)
    names = [name for name, _ in layers]
    if how.layer is not None:
        if how.layer not in names:
            raise BadDataError(
                f"{path.name} has no layer '{how.layer}', which annotations.layer asks for; its layers: "
                f"{', '.join(names) or 'none'}"
            )
        return how.layer
    with_areas = [name for name, geometry in layers if any(word.casefold() in geometry.casefold() for word in _AREAS)]
    fitting = with_areas or names
    if len(fitting) > 1 and path.stem in fitting:
        return path.stem
    if len(fitting) != 1:
        raise BadDataError(
            f"{path.name} has {len(fitting)} layers that could hold the labels ({', '.join(fitting) or 'none'}); name "
            "one in the project file (annotations: {layer: …}), or call it like the file"
        )
    return fitting[0]


def _geopackage_layers(path: Path) -> list[tuple[str, str]]:
    """Return the feature layers of a GeoPackage with the type of their geometries."""
    query = (
        "SELECT c.table_name, g.geometry_type_name FROM gpkg_contents c JOIN gpkg_geometry_columns g "
        "ON c.table_name = g.table_name WHERE c.data_type = 'features' ORDER BY c.table_name"
    )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            return [(str(name), str(geometry)) for name, geometry in database.execute(query)]
    except sqlite3.Error as error:
        raise BadDataError(f"{path.name} cannot be read as a GeoPackage ({error}); export it again") from error


def _column(fields: list[str], wanted: str, kind: str) -> str | None:
    """Return the column of the class name: as written, else in other letters, else cut to a Shapefile's ten."""
    if wanted in fields:
        return wanted
    folded = {field.casefold(): field for field in reversed(fields)}
    found = folded.get(wanted.casefold())
    if found is None and kind == "Shapefile":
        found = folded.get(wanted.casefold()[:_DBF_NAME])
    return found


def _labels(path: Path, wkb: NDArray[Any], names: NDArray[Any] | None, lines: bool) -> tuple[tuple[RawLabel, ...], int]:
    geometries = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
    found = []
    for number, geometry in enumerate(np.atleast_1d(geometries)):
        drawn = None if geometry is None else drawable(geometry, lines)
        if drawn is not None:
            check_finite(drawn, path, f"feature {number}")
            found.append(RawLabel(drawn, None if names is None else class_text(names[number])))
    return tuple(found), len(geometries) - len(found)


def _crs(text: str | None, how: AnnotationConfig, path: Path) -> str | None:
    stated = text or how.crs
    if stated is None:
        return None
    try:
        return crs_text(pyproj.CRS.from_user_input(stated))
    except pyproj.exceptions.CRSError as error:
        raise BadDataError(
            f"{path.name}: its CRS {stated[:80]!r} is unknown ({error}); assign one and export it"
        ) from error
