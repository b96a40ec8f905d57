"""What the header of a source raster says, before its pixels are read."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError

from satseg.errors import BadDataError
from satseg.scenes.grid import Grid, crs_name
from satseg.scenes.raster import gdal_environment

RASTER_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
PREPARED_TAG = "SATSEG_RADIOMETRY"  # of a file cut out of a dataset
_ALPHA_NAMES = {"alpha", "mask", "transparency", "a"}


@dataclass(frozen=True)
class SourceHeader:
    """A source raster: `bands` are its data bands (1-based), without an alpha band.

    `names`, `scales` and `offsets` go with `bands`; None where the file says nothing.
    """

    bands: tuple[int, ...]
    names: tuple[str | None, ...]
    scales: tuple[float | None, ...]
    offsets: tuple[float | None, ...]
    dtype: str
    nodata: float | None
    has_mask: bool
    alpha: int | None
    palette: bool
    grid: Grid
    file_transform: Affine
    acquired: str | None
    tile_shape: tuple[int, int]
    notes: tuple[str, ...]
    prepared: str | None = None  # mark of the radiometry its values went through, in a dataset it was cut out of


@contextmanager
def open_source(path: Path) -> Iterator[Any]:
    """Open a GeoTIFF, PNG or JPEG as a rasterio dataset.

    Raises:
        BadDataError: the file is empty, damaged or something else.
    """
    driver = _driver(path)
    # GDAL_PAM_ENABLED: .aux.xml files of a source may hold its CRS
    with gdal_environment(), rasterio.Env(GDAL_PAM_ENABLED="YES"):
        try:
            dataset = rasterio.open(path, driver=driver)
        except RasterioError as error:
            raise BadDataError(
                f"the file is damaged or truncated, {driver} says: {plain_cause(error)}; copy it again from its origin"
            ) from error
        with dataset:
            yield dataset


def read_header(path: Path, expected_bands: int | None = None) -> SourceHeader:
    """Read the header of a source raster.

    Args:
        path: the file.
        expected_bands: with exactly so many bands, one marked as alpha is data too: GDAL marks the fourth band of
            every 8-bit file so, near infrared included. A band with a name of its own is data in any case.

    Raises:
        BadDataError: the file is empty, damaged or something else.
    """
    with open_source(path) as dataset:
        notes: list[str] = []
        colours = dataset.colorinterp
        names = tuple((name or "").strip() or None for name in dataset.descriptions)
        bands = tuple(
            i
            for i, colour, name in zip(dataset.indexes, colours, names, strict=True)
            if colour != ColorInterp.alpha or (name or "alpha").casefold() not in _ALPHA_NAMES
        )
        if len(bands) < dataset.count == expected_bands:
            notes.append(f"its band marked as alpha is taken as data, because the project has {dataset.count} bands")
            bands = tuple(dataset.indexes)
        dtypes = sorted({dataset.dtypes[i - 1] for i in bands})
        grid = _grid(dataset, path, notes)
        scaling = [(dataset.scales[i - 1], dataset.offsets[i - 1]) for i in bands]
        said = [pair if pair != (1.0, 0.0) else (None, None) for pair in scaling]  # GDAL's answer for "not set"
        return SourceHeader(
            bands=bands,
            names=tuple(names[i - 1] for i in bands),
            scales=tuple(scale for scale, _ in said),
            offsets=tuple(offset for _, offset in said),
            dtype="/".join(dtypes),
            nodata=_nodata(dataset, dtypes[0], notes) if dtypes else None,
            has_mask=_has_mask(dataset, bands),
            alpha=next((i for i in dataset.indexes if i not in bands), None),
            palette=ColorInterp.palette in colours,
            grid=grid,
            file_transform=dataset.transform,
            acquired=dataset.tags().get("TIFFTAG_DATETIME"),
            tile_shape=dataset.block_shapes[0],
            notes=tuple(notes),
            prepared=dataset.tags().get(PREPARED_TAG),
        )


def _has_mask(dataset: Any, bands: tuple[int, ...]) -> bool:
    flags = dataset.mask_flag_enums[0]
    return len(bands) < dataset.count or (MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags)


def _driver(path: Path) -> str:
    # by content, and never GDAL's own choice: a text file named .tif could be a VRT that opens other files
    with path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise BadDataError("the file is empty (0 bytes); copy it again from its origin")
    for magic, driver in _DRIVERS.items():
        if start.startswith(magic):
            if driver == "PNG":
                _check_png_end(path)
            return driver
    raise BadDataError(f"the file is not a GeoTIFF, PNG or JPEG, whatever its name says (it starts with {start!r})")


def _check_png_end(path: Path) -> None:
    """Follow a PNG's chunks to its end mark: GDAL shows the missing part of a truncated one as black pixels."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        position = 8
        while position + 12 <= size:
            stream.seek(position)
            length, kind = struct.unpack(">I4s", stream.read(8))
            position += length + 12
            if kind == b"IEND":
                return
    raise BadDataError("the file is damaged or truncated, a PNG without its end; copy it again from its origin")


def plain_cause(error: BaseException) -> str:
    """Return what GDAL said first, in one line."""
    cause = error.__cause__ or error
    return str(cause).splitlines()[0].strip().rstrip(".")


def _nodata(dataset: Any, dtype: str, notes: list[str]) -> float | None:
    value = dataset.nodata
    if np.issubdtype(np.dtype(dtype), np.floating):
        return float("nan") if value is None else float(value)  # NaN pixels never hold data
    if value is None:
        return None
    limits = np.iinfo(dtype)
    if not float(value).is_integer() or not limits.min <= value <= limits.max:
        notes.append(f"nodata value {value:g} does not fit {dtype} and was ignored")
        return None
    return float(value)


def _crs(dataset: Any, path: Path) -> CRS | None:
    if dataset.crs:
        return dataset.crs
    sidecar = path.with_suffix(".prj")  # GDAL reads it for few formats only
    if not sidecar.is_file():
        return None
    try:
        return CRS.from_wkt(sidecar.read_text(encoding="utf-8", errors="replace"))
    except CRSError as error:
        raise BadDataError(
            f"{sidecar.name} holds no coordinate reference system ({error}); mend or remove it"
        ) from error


def _grid(dataset: Any, path: Path, notes: list[str]) -> Grid:
    found = _crs(dataset, path)
    crs = crs_name(found)
    if found and crs is not None and not (found.is_geographic or found.is_projected):
        notes.append(f"has the CRS {crs[:40]}, which is local or geocentric: kept in pixel space")
        return Grid(dataset.width, dataset.height, Affine.identity(), None)
    placed = dataset.transform != Affine.identity()
    if crs is not None and placed:
        return Grid(dataset.width, dataset.height, dataset.transform, crs)
    if crs is not None:
        notes.append(f"has the CRS {crs[:40]} but no place in it (no geotransform): kept in pixel space")
    elif placed:
        notes.append("has a world file or geotransform but no CRS: kept in pixel space; add a .prj file to place it")
    elif dataset.gcps[0]:
        notes.append("has ground control points only: kept in pixel space; rectify it with gdalwarp to place it")
    return Grid(dataset.width, dataset.height, Affine.identity(), None)
