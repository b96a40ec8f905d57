"""From source rasters to a Cloud-Optimized GeoTIFF on its target grid: streamed, with exact pixel statistics.

A scene that keeps its pixels goes from a virtual raster straight into the COG writer. One whose pixels change
(resampling, reprojection, radiometry, bands from several files) is first written to a temporary GeoTIFF by windows.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.config.data import RadiometryConfig, ResamplingName
from satseg.errors import BadDataError
from satseg.scenes.cog import copy_to_cog, to_cog
from satseg.scenes.grid import Grid
from satseg.scenes.histogram import percentiles
from satseg.scenes.layers import Layer, OpenLayer, open_virtual, unreadable, virtual_raster
from satseg.scenes.pace import growing, paced
from satseg.scenes.radiometry import Radiometry, changes_values, plan_radiometry, still_to_do, wanted_percents
from satseg.scenes.raster import give_back_memory
from satseg.scenes.recipe import PIXEL_TYPES, Recipe, same_place
from satseg.scenes.statistics import BLOCK_PX, PixelStatistics, measure, windows

SHRINK_FROM = 1.5  # from here on bilinear would skip source pixels


@dataclass(frozen=True)
class Product:
    """A finished scene: how it is stored, what was done to its pixels, and what they are."""

    dtype: str
    nodata: float | None
    resampling: str | None
    steps: tuple[dict[str, Any], ...]
    statistics: PixelStatistics


def resampling_for(source: Grid, target: Grid, wanted: ResamplingName = "auto") -> Resampling:
    """Return the wanted resampling; auto is average where pixels grow by 1.5 or more, otherwise bilinear."""
    if wanted != "auto":
        return Resampling[wanted]
    factor = ((source.width * source.height) / (target.width * target.height)) ** 0.5
    return Resampling.average if factor >= SHRINK_FROM else Resampling.bilinear


def transcode(  # noqa: PLR0917
    recipe: Recipe,
    grid: Grid,
    target: Path,
    names: tuple[str, ...],
    radiometry: RadiometryConfig | None = None,
    resampling: ResamplingName = "auto",
    written: Callable[[], None] = lambda: None,
) -> Product:
    """Write a scene as a COG on `grid`.

    An alpha band or mask of a source becomes the COG's mask. Every pixel of the source is read, so a truncated file is
    found, and every pixel of the result is read again. Memory is bounded by window size and GDAL's cache; equal input
    gives equal bytes. `written` is called when the file is there and GDAL's memory is free again; what it starts runs
    beside the measuring.

    Raises:
        BadDataError: pixels cannot be read, or the metadata lacks what `radiometry` needs.
        OSError: the disk is full.
    """
    declared = still_to_do(radiometry or RadiometryConfig(), recipe)
    layers = layers_of(recipe, grid, resampling)
    values = _radiometry(recipe, layers, declared)
    name = recipe.bands[0].path.name
    infinite = 0
    with growing(f"{name}: writing {grid.width} x {grid.height} px", target.parent):
        if values is None and _as_it_is(layers):
            _write_directly(layers[0], recipe, target, names)
        else:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-transcode-") as folder:
                temp = Path(folder) / "pixels.tif"
                infinite = _write_changed(recipe, layers, grid, values, temp)
                to_cog(temp, target, descriptions=names)
    give_back_memory()
    written()
    found = measure(target, paced(f"{name}: measuring", grid.width * grid.height))
    give_back_memory()
    found.infinite = max(found.infinite, infinite)
    resampled = next((layer.resampling.name for layer in layers if layer.resampling is not None), None)
    return Product(
        dtype=recipe.dtype if values is None else values.dtype,
        nodata=_stored_nodata(recipe, layers, values),
        resampling=resampled,
        steps=() if values is None else tuple(values.record()),
        statistics=found,
    )


def layers_of(recipe: Recipe, grid: Grid, resampling: ResamplingName = "auto") -> list[Layer]:
    """Return the files of a scene as layers on `grid`; bands of one file with other nodata values are a layer each."""
    layers = []
    alike: dict[tuple[Path, str], list[int]] = {}
    for i, band in enumerate(recipe.bands):
        alike.setdefault((band.path, repr(band.nodata)), []).append(i)
    for positions in map(tuple, alike.values()):
        bands = tuple(recipe.bands[i] for i in positions)
        header = bands[0].header
        how = None if same_place(header.grid, grid) else resampling_for(header.grid, grid, resampling)
        # on a scaled copy of its own grid every pixel of the scene has source pixels
        turned = header.grid.crs != grid.crs or header.grid.north_up != grid.north_up
        gaps = turned or (header.grid is not recipe.grid and not _covers(header.grid, recipe.grid))
        layers.append(Layer(bands, positions, grid, how, header.has_mask or (gaps and bands[0].nodata is None)))
    return layers


def _covers(grid: Grid, other: Grid) -> bool:
    """Return whether a grid reaches as far as another of the same CRS, to a pixel."""
    slack = math.sqrt(abs(grid.transform.determinant))
    west, south, east, north = grid.bounds
    least_x, least_y, most_x, most_y = other.bounds
    return west <= least_x + slack and south <= least_y + slack and east >= most_x - slack and north >= most_y - slack


def _as_it_is(layers: list[Layer]) -> bool:
    """Return whether the only file's pixels go into the COG unchanged, told from nodata as they are."""
    only = layers[0]
    two_ways = only.masked and any(band.nodata is not None and not math.isnan(band.nodata) for band in only.bands)
    return len(layers) == 1 and only.resampling is None and not two_ways


def _stored_nodata(recipe: Recipe, layers: list[Layer], values: Radiometry | None) -> float | None:
    if values is not None:
        return values.nodata
    return None if _masked(layers) else recipe.nodata


def _masked(layers: list[Layer]) -> bool:
    return any(layer.masked for layer in layers)


def _radiometry(recipe: Recipe, layers: list[Layer], declared: RadiometryConfig) -> Radiometry | None:
    """Return what is done to the values; None where every value stays as it is."""
    meanings = {repr(band.nodata) for band in recipe.bands}
    if not changes_values(declared, recipe.dtype) and len(meanings) == 1:
        return None
    if recipe.dtype not in PIXEL_TYPES:
        raise BadDataError(f"has {recipe.dtype} pixels; radiometry works on {', '.join(PIXEL_TYPES)}")
    percents = wanted_percents(declared)
    found: list[list[float]] = [[] for _ in recipe.bands]
    for layer in layers if percents else ():
        for position, marks in zip(layer.positions, _percentiles(layer, percents), strict=True):
            found[position] = marks
    return plan_radiometry(declared, recipe, found, gaps=recipe.nodata is not None and not _masked(layers))


def _percentiles(layer: Layer, percents: tuple[float, ...]) -> list[list[float]]:
    """Return percentiles of each band's values, as they are in the file."""
    grid, dtype = layer.header.grid, layer.header.dtype
    pixel_bytes = len(layer.bands) * np.dtype(dtype).itemsize
    tiled = layer.header.tile_shape[1] < grid.width

    def values() -> Iterator[list[NDArray[Any]]]:
        advance = paced(f"{layer.bands[0].path.name}: histogram", grid.width * grid.height)
        with layer.open_source() as source:
            for window in windows(grid.width, grid.height, pixel_bytes, tiled):
                bands, valid = source.read(window)
                yield [band[data & np.isfinite(band)] for band, data in zip(bands, valid, strict=True)]
                advance(window.width * window.height)

    try:
        return percentiles(values, [dtype] * len(layer.bands), percents)
    except ValueError as error:
        raise BadDataError("has a band without a valid pixel: everything is nodata or masked") from error


def _write_directly(layer: Layer, recipe: Recipe, target: Path, names: tuple[str, ...]) -> None:
    nodata = None if layer.masked else recipe.nodata
    xml = virtual_raster(layer.bands, layer.grid, recipe.dtype, nodata, layer.masked, names)
    try:
        with open_virtual(xml) as dataset:
            copy_to_cog(dataset, target)
    except RasterioError as error:
        raise unreadable(layer.bands[0].path, error) from error


def _write_changed(recipe: Recipe, layers: list[Layer], grid: Grid, values: Radiometry | None, temp: Path) -> int:
    """Write the scene's pixels as a temporary GeoTIFF; returns how many values of the source are infinite."""
    dtype = recipe.dtype if values is None else values.dtype
    masked = _masked(layers) and (values is None or values.nodata is None)
    nodata = _stored_nodata(recipe, layers, values)
    infinite = 0
    advance = paced(f"{recipe.bands[0].path.name}: converting", grid.width * grid.height)
    with ExitStack() as stack:
        # numbers between whole numbers are kept where they are still to be calculated with
        working = None if values is None else "float32"
        opened = [(layer, stack.enter_context(layer.open(working))) for layer in layers]
        output = stack.enter_context(rasterio.open(temp, "w", **_profile(grid, len(recipe.bands), dtype, nodata)))
        tiled = any(layer.resampling or layer.header.tile_shape[1] < grid.width for layer in layers)
        for window in windows(grid.width, grid.height, len(recipe.bands) * 4, tiled):
            bands, valid = _read(opened, len(recipe.bands), window)
            infinite += int(np.isinf(bands[valid]).sum()) if bands.dtype.kind == "f" else 0
            output.write(bands if values is None else values.apply(bands, valid), window=window)
            if masked:
                output.write_mask(_has_data(layers, valid), window=window)
            advance(window.width * window.height)
    return infinite


def _has_data(layers: list[Layer], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (H, W) bool: True where every file has data in one of its bands at least."""
    files: dict[Path, list[int]] = {}
    for layer in layers:
        files.setdefault(layer.bands[0].path, []).extend(layer.positions)
    found: NDArray[np.bool_] = np.logical_and.reduce([valid[bands].any(axis=0) for bands in files.values()])
    return found


def _read(opened: list[tuple[Layer, OpenLayer]], count: int, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the bands of all layers in the scene's order, and which values are data, both (C, H, W)."""
    bands: list[Any] = [None] * count
    valid: list[Any] = [None] * count
    for layer, source in opened:
        for position, band, data in zip(layer.positions, *source.read(window), strict=True):
            bands[position], valid[position] = band, data
    return np.stack(bands), np.stack(valid)


def _profile(grid: Grid, count: int, dtype: str, nodata: float | None) -> dict[str, Any]:
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "BIGTIFF": "IF_SAFER",
        # GDAL's own choice would mark a fourth band as alpha
        "photometric": "RGB" if count == 3 else "MINISBLACK",
    }
    return profile if grid.crs is None else profile | {"crs": grid.crs, "transform": grid.transform}
