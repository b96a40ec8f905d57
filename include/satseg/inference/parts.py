"""The finished rectangles of a map on disk: what a killed run goes on from and what several workers share.

The file of a part is twice as high as a part: below its pixels stand those of its overviews, each half as high as the
one before.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from satseg.inference.blend import FinishedRows
from satseg.inference.encoding import PROBABILITY_NODATA
from satseg.inference.overviews import halved_mean, halved_mode, levels
from satseg.inference.windows import Region, WindowGrid
from satseg.scenes.grid import Grid
from satseg.scenes.raster import gdal_environment
from satseg.storage.atomic import replacing_file

PART_ROWS = 512
MOST_OVERVIEWS = 9  # a part has a row in the last one
BAND_ROWS = 16_384
PANEL_BYTES = 64 * 2**20
LEAST_WINDOWS = 16  # across a panel; the one or two at its border are predicted twice
TILE = {"tiled": True, "blockxsize": 512, "blockysize": 64}
Kind = Literal["probability", "classes"]


class Layout(NamedTuple):
    """How a map is cut: parts of `PART_ROWS` rows, as wide as memory allows."""

    height: int
    width: int
    panel_px: int

    def regions(self, rows: range) -> Iterator[Region]:
        """Yield what is predicted in one go, in order; several panels take turns, so that rows become complete."""
        single = self.panel_px >= self.width
        band = self.height if single else BAND_ROWS
        for top in range(rows.start, rows.stop, band):
            for left in range(0, self.width, self.panel_px):
                yield Region(top, min(top + band, rows.stop), left, min(left + self.panel_px, self.width))

    def parts(self, rows: range | None = None) -> Iterator[Region]:
        """Yield the parts of some rows, which begin at a part, or of all."""
        for top in range(rows.start if rows else 0, rows.stop if rows else self.height, PART_ROWS):
            for left in range(0, self.width, self.panel_px):
                yield Region(top, min(top + PART_ROWS, self.height), left, min(left + self.panel_px, self.width))

    def share(self, number: int, of: int) -> range:
        """Return the rows of the `number`-th (from 1) of equal shares of the map."""
        parts = -(-self.height // PART_ROWS)
        first, last = ((n * parts // of) * PART_ROWS for n in (number - 1, number))
        return range(first, min(last, self.height))


def plan_layout(grid: WindowGrid, bands: int, itemsize: int, channels: int) -> Layout:
    """Cut a map into panels for which strips, sums and finished rows take about `PANEL_BYTES`."""
    per_column = grid.window_px * (3 * bands * itemsize + 3 + 4 * channels) + grid.stride_px * 12 * channels
    most = max(LEAST_WINDOWS * grid.window_px, PANEL_BYTES // per_column)
    panels = -(-grid.width // most)
    return Layout(grid.height, grid.width, grid.width if panels == 1 else -(-grid.width // panels // 512) * 512)


class Parts:
    """The finished parts of one map in a folder; a part is finished when its classes are there.

    `dtype` is that of the probabilities: "uint8", "float16" or "float32"; classes are uint8.
    """

    def __init__(self, folder: Path, layout: Layout, bands: int, dtype: str) -> None:
        self.folder, self.layout, self._bands, self.dtype = folder, layout, bands, dtype
        self.nodata = float(PROBABILITY_NODATA) if dtype == "uint8" else np.nan
        self.overviews = levels(layout.height, layout.width, MOST_OVERVIEWS)

    def file(self, kind: Kind, part: Region) -> Path:
        """Return the path of a part."""
        return self.folder / f"{kind}-{part.top}-{part.left}-with-overviews.tif"

    def finished(self, part: Region) -> bool:
        """Return whether a part is there."""
        return self.file("classes", part).is_file()

    def missing(self, rows: range) -> Iterator[Region]:
        """Yield what is still to be predicted of some rows: regions of consecutive missing parts."""
        for region in self.layout.regions(rows):
            gap: Region | None = None
            for top in range(region.top, region.bottom, PART_ROWS):
                part = region._replace(top=top, bottom=min(top + PART_ROWS, region.bottom))
                if not self.finished(part):
                    gap = part if gap is None else gap._replace(bottom=part.bottom)
                elif gap is not None:
                    yield gap
                    gap = None
            if gap is not None:
                yield gap

    def write(
        self,
        region: Region,
        rows: Iterator[FinishedRows],
        encode: Callable[[FinishedRows], tuple[NDArray[Any], NDArray[np.uint8]]],
    ) -> Iterator[Region]:
        """Write the rows of a region part by part, and yield each part when it is on disk.

        `encode` gives probabilities (bands, rows, W) and class ids (rows, W).
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting: list[tuple[NDArray[Any], NDArray[np.uint8]]] = []
        top, held = region.top, 0
        for finished in rows:
            waiting.append(encode(finished))
            held += len(finished.valid)
            while held >= PART_ROWS or (held and top + held == region.bottom):
                count = min(held, PART_ROWS)
                probability = np.concatenate([one for one, _ in waiting], axis=1)
                classes = np.concatenate([ids for _, ids in waiting])
                part = region._replace(top=top, bottom=top + count)
                self._write_part("probability", part, probability[:, :count])
                self._write_part("classes", part, classes[None, :count])
                top, held = top + count, held - count
                waiting = [(probability[:, count:], classes[count:])]
                yield part

    def _write_part(self, kind: Kind, part: Region, pixels: NDArray[Any]) -> None:
        profile: dict[str, Any] = {"driver": "GTiff", "compress": "zstd", "zstd_level": 1, "interleave": "band"} | TILE
        if kind == "probability" and self.dtype == "float16":
            profile["nbits"] = 16
        size = {"count": len(pixels), "height": 2 * PART_ROWS, "width": part.right - part.left}
        with (
            gdal_environment(),
            replacing_file(self.file(kind, part)) as temp,
            rasterio.open(temp, "w", dtype=pixels.dtype.name, sparse_ok=True, **size, **profile) as dataset,
        ):
            for level in range(self.overviews + 1):
                if level:
                    pixels = np.stack([self._halved(kind, band) for band in pixels])
                dataset.write(pixels, window=Window(0, _first_row(level), pixels.shape[2], pixels.shape[1]))

    def _halved(self, kind: Kind, band: NDArray[Any]) -> NDArray[Any]:
        return halved_mode(band) if kind == "classes" else halved_mean(band, self.nodata)

    def read(self, kind: Kind, top: int, bottom: int) -> NDArray[Any]:
        """Return finished rows of the whole width: (bands, rows, W)."""
        bands = 1 if kind == "classes" else self._bands
        dtype = "uint8" if kind == "classes" or self.dtype == "uint8" else "float32"
        pixels = np.empty((bands, bottom - top, self.layout.width), dtype)
        first = top // PART_ROWS * PART_ROWS
        with gdal_environment():
            for part in self.layout.parts(range(first, bottom)):
                low, high = max(top, part.top), min(bottom, part.bottom)
                with rasterio.open(self.file(kind, part)) as dataset:
                    window = Window(0, low - part.top, dataset.width, high - low)
                    pixels[:, low - top : high - top, part.left : part.right] = dataset.read(window=window)
        return pixels

    def mosaic(self, kind: Kind, grid: Grid, about: "MapAbout", level: int = 0) -> str:
        """Return all parts side by side as the XML of a GDAL virtual raster with overviews, or one overview of it."""
        root = ET.Element(
            "VRTDataset",
            rasterXSize=str(_halved_size(grid.width, level)),
            rasterYSize=str(_halved_size(grid.height, level)),
        )
        if grid.crs is not None and not level:
            ET.SubElement(root, "SRS").text = grid.crs
            ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
        _metadata(root, about.tags)
        gdal_type = "Byte" if kind == "classes" or self.dtype == "uint8" else "Float32"
        overviews = [] if level else [self.mosaic(kind, grid, about, n) for n in range(1, self.overviews + 1)]
        for number, name in enumerate(about.bands, start=1):
            band = ET.SubElement(
                root, "VRTRasterBand", dataType=gdal_type, band=str(number), blockXSize="512", blockYSize="512"
            )
            _describe(band, name, about)
            if kind == "probability" and self.dtype == "float16":
                _metadata(band, {"NBITS": "16"}, domain="IMAGE_STRUCTURE")
            for overview in overviews:
                element = ET.SubElement(band, "Overview")
                ET.SubElement(element, "SourceFilename", relativeToVRT="0").text = overview
                ET.SubElement(element, "SourceBand").text = str(number)
            for part in self.layout.parts():
                _add_part(band, self.file(kind, part), number, part, level)
        return ET.tostring(root, encoding="unicode")


def _halved_size(length: int, times: int) -> int:
    return -(-length >> times)  # rounded up


def _first_row(level: int) -> int:
    """Return where an overview begins in the file of a part; 0 are the pixels themselves."""
    return 2 * PART_ROWS - (2 * PART_ROWS >> level)


class MapAbout(NamedTuple):
    """What a map says about itself."""

    bands: tuple[str, ...]
    tags: Mapping[str, str]
    nodata: float | None = None
    scale: float | None = None
    colours: Mapping[int, tuple[int, int, int, int]] | None = None


def _metadata(parent: ET.Element, values: Mapping[str, str], **attributes: str) -> None:
    if values:
        element = ET.SubElement(parent, "Metadata", attributes)
        for key, value in values.items():
            ET.SubElement(element, "MDI", key=key).text = value


def _describe(band: ET.Element, name: str, about: MapAbout) -> None:
    ET.SubElement(band, "Description").text = name
    if about.nodata is not None:
        ET.SubElement(band, "NoDataValue").text = repr(about.nodata)
    if about.scale is not None:
        ET.SubElement(band, "Offset").text = "0"
        ET.SubElement(band, "Scale").text = repr(about.scale)
    if about.colours is not None:
        ET.SubElement(band, "ColorInterp").text = "Palette"
        table = ET.SubElement(band, "ColorTable")
        for class_id in range(max(about.colours) + 1):
            rgba = (str(value) for value in about.colours[class_id])
            ET.SubElement(table, "Entry", dict(zip(("c1", "c2", "c3", "c4"), rgba, strict=True)))


def _add_part(band: ET.Element, file: Path, number: int, part: Region, level: int) -> None:
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(file.resolve())
    ET.SubElement(source, "SourceBand").text = str(number)
    width, height = (str(_halved_size(length, level)) for length in (part.right - part.left, part.bottom - part.top))
    ET.SubElement(source, "SrcRect", xOff="0", yOff=str(_first_row(level)), xSize=width, ySize=height)
    left, top = str(part.left >> level), str(part.top >> level)
    ET.SubElement(source, "DstRect", xOff=left, yOff=top, xSize=width, ySize=height)
