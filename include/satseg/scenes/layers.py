"""The bands of a scene that come from one source file, as GDAL virtual rasters: nothing is copied."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from satseg.errors import BadDataError
from satseg.scenes.grid import Grid
from satseg.scenes.raster import gdal_environment
from satseg.scenes.recipe import BandSource
from satseg.scenes.source import SourceHeader, plain_cause

WARP_MEMORY_MB = 64
STRIP_ROWS = 16
PIECE_PX = 512  # divides the windows of `statistics.windows`
_GDAL_TYPES = {
    **{"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32"},
    **{"float32": "Float32", "float64": "Float64"},
}
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class Layer:
    """Bands of one file, to be read on a grid.

    `resampling` is None where the file lies on that grid already. With `masked`, what is data is told by a mask: the
    file's own, or the gaps of a reprojection.
    """

    bands: tuple[BandSource, ...]
    positions: tuple[int, ...]  # of the bands in the scene, from 0
    grid: Grid
    resampling: Resampling | None
    masked: bool

    @property
    def header(self) -> SourceHeader:
        """Header of the file."""
        return self.bands[0].header

    @contextmanager
    def open(self, dtype: str | None = None) -> Iterator["OpenLayer"]:
        """Open the layer on its grid; a resampled one computes in `dtype` where it is given."""
        header = self.header
        place = self.grid if self.resampling is None else header.grid
        nodata = self.bands[0].nodata
        xml = virtual_raster(self.bands, place, header.dtype, nodata, header.has_mask)
        if self.resampling is not None and header.has_mask and nodata is not None:
            # GDAL's warper asks the mask only where there is no nodata value
            xml = _masked_as_nodata(virtual_raster(self.bands, place, header.dtype, None, True), nodata)
        with ExitStack() as stack:
            dataset = stack.enter_context(open_virtual(xml))
            if self.resampling is not None:
                dataset = stack.enter_context(self._resampled(dataset, dtype))
            yield OpenLayer(dataset, self)

    @contextmanager
    def open_source(self) -> Iterator["OpenLayer"]:
        """Open the layer on its file's own grid."""
        header = self.header
        xml = virtual_raster(self.bands, header.grid, header.dtype, self.bands[0].nodata, header.has_mask)
        own = Layer(self.bands, self.positions, header.grid, None, header.has_mask)
        with open_virtual(xml) as dataset:
            yield OpenLayer(dataset, own)

    def _resampled(self, dataset: Any, dtype: str | None) -> WarpedVRT:
        return WarpedVRT(
            dataset,
            crs=self.grid.crs,
            transform=self.grid.transform,
            width=self.grid.width,
            height=self.grid.height,
            resampling=self.resampling,
            src_nodata=self.bands[0].nodata,
            nodata=self.bands[0].nodata,
            add_alpha=self.masked,
            warp_mem_limit=WARP_MEMORY_MB,
            dtype=dtype,
        )


class OpenLayer:
    """An open layer."""

    def __init__(self, dataset: Any, layer: Layer) -> None:
        self.dataset = dataset
        self._layer = layer
        self._indexes = list(range(1, len(layer.bands) + 1))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Returns:
            Bands (C, H, W), and which of their values are data (C, H, W).

        Raises:
            BadDataError: the pixels cannot be read.
        """
        try:
            bands, valid = self._resampled(window) if self._layer.resampling is not None else self._plain(window)
        except RasterioError as error:
            where = f" near row {window.row_off}, column {window.col_off}"
            raise unreadable(self._layer.bands[0].path, error, where) from error
        for i, band in enumerate(self._layer.bands):
            if band.nodata is not None:
                valid[i] &= ~np.isnan(bands[i]) if math.isnan(band.nodata) else bands[i] != band.nodata
        return bands, valid

    def _plain(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        bands = self.dataset.read(self._indexes, window=window)
        valid = np.ones(bands.shape, dtype=bool)
        if self._layer.masked:
            valid &= self.dataset.read_masks(1, window=window) > 0
        return bands, valid

    def _resampled(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read by pieces: GDAL resamples a larger window in one go, with results that depend on the window."""
        shape = (self.dataset.count, int(window.height), int(window.width))
        found = np.empty(shape, self.dataset.dtypes[0])
        for row in range(0, shape[1], PIECE_PX):
            for col in range(0, shape[2], PIECE_PX):
                into = found[:, row : row + PIECE_PX, col : col + PIECE_PX]
                piece = Window(window.col_off + col, window.row_off + row, into.shape[2], into.shape[1])
                into[...] = self.dataset.read(window=piece)
        count = len(self._indexes)
        valid = np.ones((count, *shape[1:]), dtype=bool)
        if self._layer.masked:
            # GDAL takes an alpha band for a mask in 2- and 4-band rasters only, so it is read as the band it is
            valid &= found[count] > 0
        return found[:count], valid


def unreadable(path: Path, error: RasterioError, where: str = "") -> BadDataError:
    """Return the error for pixels that cannot be read."""
    return BadDataError(
        f"pixels of {path.name}{where} cannot be read ({plain_cause(error)}): the file is damaged or truncated; copy "
        "it again from its origin"
    )


def virtual_raster(  # noqa: PLR0917
    bands: Sequence[BandSource],
    grid: Grid,
    dtype: str,
    nodata: float | None,
    masked: bool,
    names: Sequence[str] | None = None,
) -> str:
    """Return the VRT of bands of one file that lie on `grid`.

    Args:
        bands: the bands in order.
        grid: their grid.
        dtype: one of PIXEL_TYPES.
        nodata: the value that means no data in all of them.
        masked: hand on the file's mask or alpha band as the mask.
        names: descriptions of the bands.
    """
    blocks = _blocks(bands[0].header)
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ET.SubElement(root, "SRS").text = grid.crs
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    for number, band in enumerate(bands, start=1):
        described = {"dataType": _GDAL_TYPES[dtype], "band": str(number), **blocks}
        element = ET.SubElement(root, "VRTRasterBand", described)
        if names is not None:
            ET.SubElement(element, "Description").text = names[number - 1]
        if nodata is not None:
            ET.SubElement(element, "NoDataValue").text = repr(nodata)
        colour = _COLOURS[number - 1] if len(bands) == len(_COLOURS) else "Gray" if number == 1 else "Undefined"
        ET.SubElement(element, "ColorInterp").text = colour
        _add_source(element, band.path, str(band.index))
    if masked:
        alpha = bands[0].header.alpha
        mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _add_source(mask, bands[0].path, "mask,1" if alpha is None else str(alpha))
    return ET.tostring(root, encoding="unicode")


def _masked_as_nodata(xml: str, nodata: float) -> str:
    """Return a VRT of a masked VRT whose masked pixels are `nodata` in all bands."""
    root = ET.fromstring(xml)  # noqa: S314 - it was written here
    mask = root.find("MaskBand")
    assert mask is not None
    root.remove(mask)
    for number, band in enumerate(root.findall("VRTRasterBand"), start=1):
        for source in band.findall("SimpleSource"):
            band.remove(source)
        ET.SubElement(band, "NoDataValue").text = repr(nodata)
        source = ET.SubElement(band, "ComplexSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = xml
        ET.SubElement(source, "SourceBand").text = str(number)
        ET.SubElement(source, "UseMaskBand").text = "true"
    return ET.tostring(root, encoding="unicode")


@contextmanager
def open_virtual(xml: str) -> Iterator[Any]:
    """Open a virtual raster as a rasterio dataset."""
    with gdal_environment(), rasterio.Env(GDAL_PAM_ENABLED="YES"), rasterio.open(xml, driver="VRT") as dataset:
        yield dataset


def _blocks(header: SourceHeader) -> dict[str, str]:
    """Return the blocks of a virtual raster: GDAL's own of 128 px cost a third of the time of a conversion."""
    rows, cols = header.tile_shape
    striped = cols >= header.grid.width
    width = header.grid.width if striped else min(PIECE_PX, header.grid.width)
    height = max(rows, STRIP_ROWS) if striped else PIECE_PX
    return {"blockXSize": str(width), "blockYSize": str(min(height, header.grid.height))}


def _add_source(parent: ET.Element, path: Path, band: str) -> None:
    element = ET.SubElement(parent, "SimpleSource")
    ET.SubElement(element, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
    ET.SubElement(element, "SourceBand").text = band
