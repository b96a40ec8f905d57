"""Reading windows of a scene as (H, W, C) arrays; rasterio's (C, H, W) order ends here."""

import ctypes
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from satseg.errors import BadDataError

Padding = Literal["reflect", "none"]
GDAL_CACHE_BYTES = 128 * 2**20
GDAL_THREADS = 2
_FILES_OF_VIRTUAL_RASTERS = 32  # open at a time; a map of many gigapixels has hundreds of parts
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt
_LESS_THAN_A_BLOCK = 128 * 1024  # bytes; a block of 512 x 512 pixels has at least 256 KiB
_LARGEST_THRESHOLD = 32 * 2**20

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # scenes without a CRS are nothing unusual


def gdal_environment() -> rasterio.Env:
    """Return a GDAL environment with bounded cache in which a damaged file is an error, never grey pixels."""
    return rasterio.Env(
        GDAL_CACHEMAX=GDAL_CACHE_BYTES,
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE",
        GDAL_ERROR_ON_LIBJPEG_WARNING="TRUE",
        GDAL_MAX_DATASET_POOL_SIZE=str(_FILES_OF_VIRTUAL_RASTERS),
        GDAL_PAM_ENABLED="NO",
        GDAL_TIFF_INTERNAL_MASK="YES",
        GDAL_NUM_THREADS=str(GDAL_THREADS),
    )


def give_back_memory() -> None:
    """Let the operating system have again what GDAL has freed; glibc would keep it for this process."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def blocks_given_back() -> Iterator[None]:
    """Let every block of pixels that is freed within go back to the operating system at once.

    glibc takes what a program frees for what it will want again. Where several threads read and write rasters, blocks
    come and go in all of their heaps, which grow for as long as there is more to write.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _LESS_THAN_A_BLOCK)
    try:
        yield
    finally:
        # as far as glibc itself goes up to: elsewhere large arrays come and go too often for this
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)


def reflected(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Return the indices 0..size-1 that `length` positions from `start` see when the edges are mirrors.

    The edge pixel itself is not repeated, as in `numpy.pad(mode="reflect")`.
    """
    positions = np.arange(start, start + length)
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * (size - 1)
    folded = np.abs(positions) % period
    indices: NDArray[np.intp] = np.minimum(folded, period - folded).astype(np.intp)
    return indices


class SceneReader:
    """An open scene; use it through `open_scene`, from one thread."""

    def __init__(self, dataset: Any, path: Path) -> None:
        self._dataset = dataset
        self.path = path
        self.height: int = dataset.height
        self.width: int = dataset.width
        self.count: int = dataset.count
        self.dtype: str = dataset.dtypes[0]
        self.transform: rasterio.Affine = dataset.transform
        self.crs: rasterio.crs.CRS | None = dataset.crs
        self.nodata: float | None = dataset.nodata
        flags = [flag.name for flag in dataset.mask_flag_enums[0]]
        self._may_be_invalid = "all_valid" not in flags or np.issubdtype(np.dtype(self.dtype), np.floating)

    def read(self, row: int, col: int, height: int, width: int, pad: Padding = "reflect") -> NDArray[Any]:
        """Read a window, which may reach over the scene's edges.

        Args:
            row: first row, may be negative.
            col: first column, may be negative.
            height: rows of the window, > 0.
            width: columns of the window, > 0.
            pad: "reflect" mirrors the scene at its edges; "none" cuts the window at them.

        Returns:
            (H, W, C) in the scene's dtype; smaller than asked only with pad="none".

        Raises:
            ValueError: the window is empty, or lies outside and pad is "none".
            BadDataError: the pixels cannot be read.
        """
        if height <= 0 or width <= 0:
            raise ValueError(f"window of {height} x {width} pixels")
        if pad == "none":
            row, col, height, width = self._clipped(row, col, height, width)
            return self._pixels(row, col, height, width)
        if row >= 0 and col >= 0 and row + height <= self.height and col + width <= self.width:
            return self._pixels(row, col, height, width)
        rows, cols = reflected(row, height, self.height), reflected(col, width, self.width)
        top, left = int(rows.min()), int(cols.min())
        pixels = self._pixels(top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
        return np.ascontiguousarray(pixels[np.ix_(rows - top, cols - left)])

    def valid_mask(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return (H, W) bool: True where the scene has data; False at nodata, masked, NaN and outside the scene."""
        valid = np.zeros((height, width), dtype=bool)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if bottom > top and right > left:
            inside = self._valid(top, left, bottom - top, right - left) if self._may_be_invalid else True
            valid[top - row : bottom - row, left - col : right - col] = inside
        return valid

    def _clipped(self, row: int, col: int, height: int, width: int) -> tuple[int, int, int, int]:
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if bottom <= top or right <= left:
            raise ValueError(f"window {row, col, height, width} lies outside a scene of {self.height} x {self.width}")
        return top, left, bottom - top, right - left

    def _pixels(self, row: int, col: int, height: int, width: int) -> NDArray[Any]:
        pixels = np.empty((height, width, self.count), dtype=self.dtype)
        try:  # into place, which saves turning (C, H, W) round
            self._dataset.read(out=pixels.transpose(2, 0, 1), window=Window(col, row, width, height))
        except RasterioError as error:
            raise BadDataError(f"{self.path}: pixels at row {row}, column {col} cannot be read ({error}).") from error
        return pixels

    def _valid(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        window = Window(col, row, width, height)
        try:
            valid: NDArray[np.bool_] = self._dataset.dataset_mask(window=window) > 0
            if np.issubdtype(np.dtype(self.dtype), np.floating):
                valid &= ~np.isnan(self._dataset.read(window=window)).all(axis=0)
        except RasterioError as error:
            raise BadDataError(f"{self.path}: mask at row {row}, column {col} cannot be read ({error}).") from error
        return valid


@contextmanager
def open_scene(path: Path) -> Iterator[SceneReader]:
    """Open a scene for reading windows.

    Raises:
        BadDataError: the file is missing or not a raster.
    """
    with gdal_environment():
        try:
            dataset = rasterio.open(path)
        except RasterioIOError as error:
            raise BadDataError(f"Scene {path} cannot be opened as a raster ({error}).") from error
        with dataset:
            yield SceneReader(dataset, path)
