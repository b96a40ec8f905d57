"""From a source raster to a Cloud-Optimized GeoTIFF on its target grid: streamed, with exact pixel statistics."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from satseg.errors import BadDataError
from satseg.scenes.cog import BLOCK_PX, to_cog
from satseg.scenes.grid import Grid
from satseg.scenes.source import SourceHeader, open_source

WINDOW_BYTES = 8 * 2**20
SHRINK_FROM = 1.5  # from here on bilinear would skip source pixels


@dataclass
class PixelStatistics:
    """Exact counts and moments of a scene's pixels, summed window by window."""

    pixels: int = 0
    valid: int = 0
    black: int = 0
    infinite: int = 0
    minimum: list[float] = field(default_factory=list)
    maximum: list[float] = field(default_factory=list)
    finite: list[int] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)

    def add(self, bands: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Add a window: bands (C, H, W) and valid (H, W)."""
        self.pixels += valid.size
        self.valid += int(valid.sum())
        self.black += int((valid & (bands == 0).all(axis=0)).sum())
        if not self.minimum:
            count = len(bands)
            self.minimum, self.maximum = [float("inf")] * count, [float("-inf")] * count
            self.total, self.squares, self.finite = [0.0] * count, [0.0] * count, [0] * count
        for i, band in enumerate(bands):
            values = band[valid].astype(np.float64)
            finite = values[np.isfinite(values)]
            self.infinite += int(np.isinf(values).sum())
            self.finite[i] += len(finite)
            if len(finite):
                self.minimum[i] = min(self.minimum[i], float(finite.min()))
                self.maximum[i] = max(self.maximum[i], float(finite.max()))
                self.total[i] += float(finite.sum())
                self.squares[i] += float(np.square(finite).sum())

    @property
    def nodata_fraction(self) -> float:
        """Part of the scene without data."""
        return 1 - self.valid / max(self.pixels, 1)

    @property
    def black_fraction(self) -> float:
        """Part of the scene in which every band is 0 though it counts as data."""
        return self.black / max(self.pixels, 1)

    def bands(self) -> list[dict[str, float]]:
        """Return minimum, maximum, mean and standard deviation of each band over its finite pixels."""
        found = []
        for i, count in enumerate(self.finite):
            mean = self.total[i] / max(count, 1)
            variance = max(self.squares[i] / max(count, 1) - mean * mean, 0.0)
            low, high = (self.minimum[i], self.maximum[i]) if count else (0.0, 0.0)
            found.append({"minimum": low, "maximum": high, "mean": mean, "stddev": variance**0.5})
        return found


def resampling_for(source: Grid, target: Grid) -> Resampling:
    """Return average where pixels grow by 1.5 or more (nothing is skipped), otherwise bilinear."""
    factor = ((source.width * source.height) / (target.width * target.height)) ** 0.5
    return Resampling.average if factor >= SHRINK_FROM else Resampling.bilinear


def transcode(
    source: Path, header: SourceHeader, target_grid: Grid, target: Path, band_names: tuple[str, ...]
) -> PixelStatistics:
    """Write `source` as a COG on `target_grid` and return its pixel statistics.

    An alpha band or mask of the source becomes the COG's mask. Every pixel is read, so a truncated file is found.
    Memory is bounded by window size and GDAL's cache; equal input gives equal bytes.

    Raises:
        BadDataError: pixels cannot be read.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-transcode-") as folder:
        temp = Path(folder) / "pixels.tif"
        statistics = _copy_pixels(source, header, target_grid, temp)
        to_cog(temp, target, descriptions=band_names)
    return statistics


def _copy_pixels(source: Path, header: SourceHeader, grid: Grid, temp: Path) -> PixelStatistics:
    statistics = PixelStatistics()
    warped = grid is not header.grid
    masked = needs_mask(header, grid)
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(header.bands),
        "dtype": header.dtype,
        "nodata": None if masked else header.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "BIGTIFF": "IF_SAFER",
        # GDAL's own choice would mark a fourth band as alpha
        "photometric": "RGB" if len(header.bands) == 3 else "MINISBLACK",
    }
    if grid.crs is not None:
        profile |= {"crs": grid.crs, "transform": grid.transform}
    with ExitStack() as stack:
        dataset = stack.enter_context(open_source(source))
        if warped:
            # an internal mask survives warping only as an alpha band; a band beyond the project's is one already
            add_alpha = masked and dataset.count == len(header.bands)
            dataset = stack.enter_context(_warped(dataset, header, grid, add_alpha=add_alpha))
        output = stack.enter_context(rasterio.open(temp, "w", **profile))
        tiled = warped or header.tile_shape[1] < grid.width
        for window in _windows(grid, len(header.bands) * np.dtype(header.dtype).itemsize, tiled):
            bands, valid = _read(dataset, header, window, masked)
            statistics.add(bands, valid)
            output.write(bands, window=window)
            if masked:
                output.write_mask(valid, window=window)
    return statistics


def needs_mask(header: SourceHeader, grid: Grid) -> bool:
    """Return whether the COG tells data from nodata by a mask instead of a nodata value."""
    # on a scaled copy of the same grid every target pixel has source pixels
    gaps = header.grid.crs != grid.crs or header.grid.north_up != grid.north_up
    return header.has_mask or (gaps and header.nodata is None)


def _warped(dataset: Any, header: SourceHeader, grid: Grid, add_alpha: bool) -> WarpedVRT:
    return WarpedVRT(
        dataset,
        src_crs=header.grid.crs,
        src_transform=header.grid.transform,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling_for(header.grid, grid),
        src_nodata=header.nodata,
        nodata=header.nodata,
        add_alpha=add_alpha,
        warp_mem_limit=64,
    )


def _windows(grid: Grid, pixel_bytes: int, tiled: bool) -> Iterator[Window]:
    """Yield windows of at most about WINDOW_BYTES: blocks of a tiled source, rows of a striped one."""
    pixels = max(WINDOW_BYTES // pixel_bytes, BLOCK_PX)
    if tiled:
        side = max(int(pixels**0.5) // BLOCK_PX, 1) * BLOCK_PX
        rows, cols = side, side
    else:
        rows, cols = max(pixels // grid.width, 1), grid.width
        rows = max(rows // BLOCK_PX * BLOCK_PX, min(rows, BLOCK_PX))
    for row in range(0, grid.height, rows):
        for col in range(0, grid.width, cols):
            yield Window(col, row, min(cols, grid.width - col), min(rows, grid.height - row))


def _read(dataset: Any, header: SourceHeader, window: Window, masked: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    try:
        bands: NDArray[Any] = dataset.read(list(header.bands), window=window)
        valid = dataset.dataset_mask(window=window) > 0 if masked else np.ones(bands.shape[1:], dtype=bool)
    except RasterioError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise BadDataError(
            f"pixels near row {window.row_off}, column {window.col_off} cannot be read ({cause}): the file is damaged "
            "or truncated; copy it again from its origin"
        ) from error
    if header.nodata is not None:
        empty = np.isnan(bands) if np.isnan(header.nodata) else bands == header.nodata
        valid = valid & ~empty.all(axis=0)
    return bands, valid
