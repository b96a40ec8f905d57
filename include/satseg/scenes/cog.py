"""Writing Cloud-Optimized GeoTIFFs."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy lets through; there is no public name
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.shutil import copy as copy_raster

from satseg.errors import BadDataError
from satseg.scenes import raster
from satseg.storage.atomic import replacing_file

BLOCK_PX = 512
CACHE_BYTES = 64 * 2**20
FULL_DISK_BYTES = 64 * 2**20
Rgba = tuple[int, int, int, int]


def creation_options(dtype: str, overview_resampling: str | None = "average") -> dict[str, str]:
    """Return the options of GDAL's COG driver for pixels of a type; None takes the overviews the source has."""
    # predictor 3 exists for 16, 32 and 64 bit floats only, predictor 2 for whole numbers
    predictor = "FLOATING_POINT" if np.issubdtype(np.dtype(dtype), np.floating) else "STANDARD"
    return {
        "COMPRESS": "DEFLATE",
        "PREDICTOR": predictor,
        "BLOCKSIZE": str(BLOCK_PX),
        "OVERVIEWS": "IGNORE_EXISTING" if overview_resampling else "FORCE_USE_EXISTING",
        "OVERVIEW_RESAMPLING": (overview_resampling or "nearest").upper(),
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": str(raster.GDAL_THREADS),
    }


def _describe(
    source: Path,
    colormap: Mapping[int, Rgba] | None,
    descriptions: Sequence[str] | None,
    tags: Mapping[str, str] | None,
    nodata: float | None,
) -> None:
    # the COG driver copies these from its source; a finished COG must not be edited, that would break its layout
    with rasterio.open(source, "r+") as dataset:
        if nodata is not None:
            dataset.nodata = nodata
        if colormap is not None:
            dataset.write_colormap(1, dict(colormap))
            dataset.colorinterp = (ColorInterp.palette, *dataset.colorinterp[1:])
        if descriptions is not None:
            dataset.descriptions = tuple(descriptions)
        if tags is not None:
            dataset.update_tags(**tags)


def to_cog(
    source: Path,
    target: Path,
    *,
    colormap: Mapping[int, Rgba] | None = None,
    overview_resampling: str = "average",
    descriptions: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    nodata: float | None = None,
) -> None:
    """Turn a temporary GeoTIFF into a Cloud-Optimized GeoTIFF at `target`: whole or not at all, memory bounded.

    Equal pixels and arguments give equal bytes. `source` is changed when one of the last five arguments is given,
    and is not removed.

    Args:
        source: GeoTIFF with the pixels (and, if it has one, the mask) to write.
        target: the COG; deflate, tiles of 512 px, overviews.
        colormap: class id → (red, green, blue, alpha), 0..255, for a one-band uint8 source.
        overview_resampling: "average", "nearest" (class ids), "mode", "bilinear", …
        descriptions: names of the bands.
        tags: metadata of the file.
        nodata: value that means no data.

    Raises:
        BadDataError: the source's pixels cannot be read.
    """
    with raster.gdal_environment():
        if colormap or descriptions or tags or nodata is not None:
            _describe(source, colormap, descriptions, tags, nodata)
        try:
            with rasterio.open(source) as dataset:
                copy_to_cog(dataset, target, overview_resampling)
        except RasterioError as error:
            raise BadDataError(f"{source} cannot be written as a Cloud-Optimized GeoTIFF ({error}).") from error


def copy_to_cog(
    dataset: Any, target: Path, overview_resampling: str | None = "average", level: int | None = None
) -> None:
    """Write an open rasterio dataset, with its mask and metadata, as a COG: whole or not at all, memory bounded.

    Args:
        dataset: the source.
        target: the COG.
        overview_resampling: see `to_cog`; None takes the overviews the dataset has.
        level: of deflate; 1 is three times as fast as GDAL's default (6).

    Raises:
        RasterioIOError: the dataset's pixels cannot be read.
        OSError: the disk is full.
    """
    options: dict[str, Any] = creation_options(dataset.dtypes[0], overview_resampling)
    if level is not None:
        options["LEVEL"] = str(level)
    with replacing_file(target) as temp:
        try:
            # every block is wanted once or twice in a row, so a larger cache would only take memory
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
                copy_raster(dataset, str(temp), driver="COG", **options)
        except (RasterioError, CPLE_BaseError) as error:
            # GDAL does not tell a full disk from a damaged source
            if shutil.disk_usage(temp.parent).free < FULL_DISK_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
            raise RasterioIOError(str(error)) from error
