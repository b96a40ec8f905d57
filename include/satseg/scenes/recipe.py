"""What a scene is made of: which band of which file is which band of the project."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from satseg.errors import BadDataError
from satseg.scenes.grid import Grid
from satseg.scenes.source import SourceHeader, read_header

PIXEL_TYPES = ("uint8", "uint16", "int16", "float32")


@dataclass(frozen=True)
class Member:
    """A band as a scene file or STAC Item gives it; None = as the raster's own header says."""

    path: Path
    index: int = 1
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


@dataclass(frozen=True)
class BandSource:
    """One band of the scene: band `index` (1-based) of a file, and what its values mean."""

    path: Path
    header: SourceHeader
    index: int
    scale: float | None
    offset: float | None
    nodata: float | None


@dataclass(frozen=True)
class Recipe:
    """The bands of a scene in the project's order.

    `grid` is the finest band's. `dtype` can hold them all, or names several types with "/" where none of PIXEL_TYPES
    can.
    """

    bands: tuple[BandSource, ...]
    grid: Grid
    dtype: str
    palette: bool
    acquired: str | None
    notes: tuple[str, ...]

    @property
    def headers(self) -> dict[Path, SourceHeader]:
        """The files and their headers, each once, in the order of their first band."""
        return {band.path: band.header for band in self.bands}

    @property
    def has_mask(self) -> bool:
        """Whether a file has a mask or an alpha band."""
        return any(header.has_mask for header in self.headers.values())

    @property
    def nodata(self) -> float | None:
        """The nodata value of the first band that has one."""
        return next((band.nodata for band in self.bands if band.nodata is not None), None)


def recipe_of_file(path: Path, bands: tuple[str, ...], called: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of a scene in one file.

    Bands are picked by name where the file names all of `bands` (upper and lower case alike). Otherwise they are
    taken as they come; whether they are as many as the project's is for the validation rules to say.

    Args:
        path: GeoTIFF, PNG or JPEG.
        bands: the project's bands.
        called: names of bands in files, where they differ from the project's.

    Raises:
        BadDataError: the file cannot be read, or it names its bands and lacks one.
    """
    header = read_header(path, len(bands))
    names = [name.casefold() if name else None for name in header.names]
    wanted = [(called or {}).get(band, band).casefold() for band in bands]
    notes = list(header.notes)
    chosen = list(range(len(header.bands)))
    if all(names.count(name) == 1 for name in wanted):
        chosen = [names.index(name) for name in wanted]
    elif any(names) and len(chosen) != len(bands):
        there = ", ".join(name or "(no name)" for name in header.names)
        missing = ", ".join(name for name in wanted if names.count(name) != 1)
        raise BadDataError(
            f"has {len(names)} bands ({there}), none or several of them called {missing}; name them with gdal_edit.py, "
            "or say in the project file what they are called (band_names)"
        )
    elif all(names) and any(name not in wanted for name in names):
        notes.append(f"its bands are called {', '.join(map(str, header.names))}: taken in this order for the project's")
    sources = tuple(
        BandSource(path, header, header.bands[i], header.scales[i], header.offsets[i], header.nodata) for i in chosen
    )
    return Recipe(sources, header.grid, header.dtype, header.palette, header.acquired, tuple(notes))


def recipe_of_files(members: Mapping[str, Member], bands: tuple[str, ...], acquired: str | None = None) -> Recipe:
    """Return the recipe of a scene in several files, one or more bands each.

    Bands on coarser grids are to be brought to the finest band's.

    Raises:
        BadDataError: a file cannot be read, has no such band, or does not lie where the others do.
    """
    headers: dict[Path, SourceHeader] = {}
    sources = []
    for name in bands:
        member = members[name]
        if member.path not in headers:
            headers[member.path] = _header(member.path)
        sources.append(_band(member, headers[member.path]))
    finest = min(sources, key=lambda source: abs(source.header.grid.transform.determinant))
    grid = finest.header.grid
    notes: dict[str, None] = {}
    for path, header in headers.items():
        _check_place(path, header.grid, finest)
        notes |= dict.fromkeys(f"{path.name} {note}" for note in header.notes)
    types = sorted({header.dtype for header in headers.values()})
    common = str(np.result_type(*types)) if len(types) > 1 else types[0]
    return Recipe(
        bands=tuple(sources),
        grid=grid,
        dtype=common if common in PIXEL_TYPES else "/".join(types),
        palette=any(header.palette for header in headers.values()),
        acquired=acquired or next((header.acquired for header in headers.values() if header.acquired), None),
        notes=tuple(notes),
    )


def same_place(one: Grid, other: Grid) -> bool:
    """Return whether two grids have the same pixels (to a thousandth of one)."""
    if (one.width, one.height, one.crs) != (other.width, other.height, other.crs):
        return False
    tolerance = 1e-3 * math.sqrt(abs(one.transform.determinant))
    return all(math.dist(a, b) <= tolerance for a, b in zip(one.corners, other.corners, strict=True))


def _header(path: Path) -> SourceHeader:
    try:
        return read_header(path, 1)
    except BadDataError as error:
        raise BadDataError(f"{path.name}: {error}") from error


def _band(member: Member, header: SourceHeader) -> BandSource:
    if member.index not in header.bands:
        raise BadDataError(f"{member.path.name} has no data band {member.index}, only {len(header.bands)}")
    at = header.bands.index(member.index)
    return BandSource(
        path=member.path,
        header=header,
        index=member.index,
        scale=header.scales[at] if member.scale is None else member.scale,
        offset=header.offsets[at] if member.offset is None else member.offset,
        nodata=_nodata(member, header),
    )


def _nodata(member: Member, header: SourceHeader) -> float | None:
    value = member.nodata
    if value is None or (math.isnan(value) and header.nodata is None):
        return header.nodata
    if header.dtype != "float32" and header.dtype in PIXEL_TYPES:
        limits = np.iinfo(header.dtype)
        if not float(value).is_integer() or not limits.min <= value <= limits.max:
            raise BadDataError(f"{member.path.name} holds {header.dtype} pixels, which cannot be nodata {value:g}")
    return value


def _check_place(path: Path, grid: Grid, band: BandSource) -> None:
    finest = band.header.grid
    if (grid.crs is None) != (finest.crs is None):
        raise BadDataError(f"{path.name} {'has no' if grid.crs is None else 'has a'} CRS, unlike the other bands")
    if grid.crs is None and (grid.width, grid.height) != (finest.width, finest.height):
        raise BadDataError(
            f"{path.name} has {grid.width} x {grid.height} pixels and no CRS, another band {finest.width} x "
            f"{finest.height}: without a CRS all bands must be of the same size"
        )
    if not _overlap(grid, finest):
        raise BadDataError(
            f"{path.name} lies elsewhere than {band.path.name}: their ground does not overlap; give the band of this "
            "scene, or correct its CRS and geotransform"
        )


def _overlap(one: Grid, other: Grid) -> bool:
    bounds = one.bounds
    if one.crs is not None and other.crs is not None and one.crs != other.crs:
        try:
            bounds = transform_bounds(CRS.from_user_input(one.crs), CRS.from_user_input(other.crs), *bounds)
        except RasterioError:
            return False  # one CRS cannot hold the ground of the other
    west, south, east, north = bounds
    least_x, least_y, most_x, most_y = other.bounds
    return west < most_x and east > least_x and south < most_y and north > least_y
