"""Reading a scene cell by cell, rasterising its polygons there, and cutting windows out of it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from patchify import patchify

from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError
from satseg.patches.moments import Moments
from satseg.scenes.raster import SceneReader, gdal_environment, open_scene, reflected

if TYPE_CHECKING:
    import pandas as pd

CELL_BYTES = 24 * 2**20  # pixels, mask and validity held for a cell
PACKED_BYTES = 16 * 2**20  # masks kept from the first pass to the second
CELL_STEP = 512  # cells begin and end where the scene's tiles do
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """Neighbouring windows that are read together: a part of a strip of tiles.

    Attributes:
        index: (N,) their rows in the table of windows.
        places: (N, 2) row and column of each within the cell.
        top: first row of the rectangle they span; left, bottom and right likewise, the last two exclusive.
    """

    index: NDArray[np.int64]
    places: NDArray[np.int64]
    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def only(self, chosen: NDArray[np.bool_]) -> "Cell":
        """Return the cell with fewer windows, (N,) of them chosen; it still spans the same rectangle."""
        return Cell(self.index[chosen], self.places[chosen], self.top, self.left, self.bottom, self.right)


@dataclass(frozen=True)
class Survey:
    """What is in a cell's windows: the part that has data, (N,), and the part that is each class, (N, classes)."""

    data: NDArray[np.float64]
    fractions: NDArray[np.float64]


@dataclass(frozen=True)
class Content:
    """A cell's windows, and what its training windows add to the statistics, in the order of the cell."""

    splits: Sequence[str]
    windows: "_Windows"
    moments: Sequence[Moments]
    class_pixels: NDArray[np.int64]

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any], Mask]]:
        """Yield split, image (size, size, C) and mask (size, size) of each window."""
        for number, split in enumerate(self.splits):
            yield split, self.windows.image(number), self.windows.mask(number)


def cell_side(reader: SceneReader, size: int) -> int:
    """Return the distance between cells in pixels, for which a cell takes about CELL_BYTES."""
    pixel = reader.count * np.dtype(reader.dtype).itemsize + 2  # and its mask and validity
    side = int((CELL_BYTES / pixel) ** 0.5) - size
    return max(side // CELL_STEP * CELL_STEP, size)


def cells_of(table: "pd.DataFrame", size: int, height: int, width: int) -> list[Cell]:
    """Return the cells of a table of windows that has columns row, col, cell_row and cell_col."""
    cells = []
    rows, cols = table["row"].to_numpy(), table["col"].to_numpy()
    for found in table.groupby(["cell_row", "cell_col"], sort=True).indices.values():
        index = np.sort(found)
        top, left = int(rows[index].min()), int(cols[index].min())
        bottom = min(int(rows[index].max()) + size, height)
        right = min(int(cols[index].max()) + size, width)
        places = np.stack([rows[index] - top, cols[index] - left], axis=1)
        cells.append(Cell(index, places, top, left, bottom, right))
    return cells


class CellReader:
    """Reads and cuts the cells of one scene, from several threads at once; each has the scene open by itself."""

    def __init__(self, record: SceneRecord, size: int, classes: int, threads: int) -> None:
        self._record, self._size, self._classes, self._threads = record, size, classes, threads
        self._polygons = PolygonIndex.read(record.annotations) if record.annotations else PolygonIndex()
        self._readers: SimpleQueue[SceneReader] = SimpleQueue()
        self._packed: dict[tuple[int, int], Mask] = {}
        self._room = PACKED_BYTES
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(self._threads):
            self.scene = self._open.enter_context(open_scene(self._record.path))
            self._readers.put(self.scene)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def survey(self, cell: Cell) -> Survey:
        """Return what is in a cell's windows, of which only the pixels' validity is read."""
        with self._reader() as reader:
            valid = reader.valid_mask(cell.top, cell.left, *cell.shape)
        windows = _Windows(cell, self._size, valid, self._remembered(cell, self._mask(cell)))
        data, fractions = np.ones(len(cell.index)), np.zeros((len(cell.index), self._classes))
        for number in range(len(cell.index)):
            if not windows.all_valid:
                data[number] = windows.valid(number).mean()
            if windows.any_labelled:
                fractions[number] = self._pixels_of_classes(windows.mask(number))[1:] / self._size**2
        return Survey(data, fractions)

    def content(self, cell: Cell, splits: Sequence[str]) -> Content:
        """Return a cell's windows with their pixels; nodata is 0, so that no -9999 or NaN reaches a model."""
        with self._reader() as reader:
            pixels = reader.read(cell.top, cell.left, *cell.shape, pad="none")
            valid = reader.valid_mask(cell.top, cell.left, *cell.shape)
        windows = _Windows(cell, self._size, valid, self._mask(cell), pixels)
        moments, class_pixels = [], np.zeros(self._classes + 1, dtype=np.int64)
        for number in (number for number, split in enumerate(splits) if split == "train"):
            seen = windows.valid(number)
            inside = np.s_[: seen.shape[0], : seen.shape[1]]
            moments.append(Moments.of(windows.image(number)[inside], seen))
            mask = windows.mask(number)[inside]
            class_pixels += self._pixels_of_classes(mask if windows.all_valid else mask[seen])
        return Content(splits, windows, moments, class_pixels)

    def _pixels_of_classes(self, mask: Mask) -> NDArray[np.int64]:
        counts = [np.count_nonzero(mask == number) for number in range(1, self._classes + 1)]
        return np.array([mask.size - sum(counts), *counts], dtype=np.int64)

    def _remembered(self, cell: Cell, mask: Mask) -> Mask:
        """Keep a mask of one class in an eighth of its size, while there is room, for the second pass."""
        if self._classes == 1 and (packed := np.packbits(mask, axis=1)).nbytes <= self._room:
            self._room -= packed.nbytes
            self._packed[cell.top, cell.left] = packed
        return mask

    def _mask(self, cell: Cell) -> Mask:
        packed = self._packed.pop((cell.top, cell.left), None)
        if packed is not None:
            return np.unpackbits(packed, axis=1, count=cell.shape[1])
        transform = window_transform(self.scene.transform, cell.top, cell.left)
        return self._polygons.rasterize(transform, *cell.shape)

    @contextmanager
    def _reader(self) -> Iterator[SceneReader]:
        reader = self._readers.get()
        try:
            with gdal_environment():  # a thread has settings of its own
                yield reader
        finally:
            self._readers.put(reader)


class _Windows:
    """The windows of a cell as views; those that reach over the scene's edge are mirrored within themselves."""

    def __init__(
        self, cell: Cell, size: int, valid: NDArray[np.bool_], mask: Mask, pixels: NDArray[Any] | None = None
    ) -> None:
        self._places: list[list[int]] = cell.places.tolist()
        self._size = size
        self._valid, self._mask, self._pixels = valid, mask, pixels
        self.all_valid = bool(valid.all())
        self.any_labelled = bool(mask.any())
        if pixels is not None:
            if not self.all_valid:
                pixels[~valid] = 0
            if np.issubdtype(pixels.dtype, np.floating):
                np.nan_to_num(pixels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        self._fitting = min(valid.shape) >= size
        self._masks = patchify(mask, (size, size), step=1) if self._fitting else None
        self._images = (
            patchify(pixels, (size, size, pixels.shape[2]), step=1) if self._fitting and pixels is not None else None
        )

    def valid(self, number: int) -> NDArray[np.bool_]:
        """Return where a window has data, (H, W), only inside the scene."""
        row, col = self._places[number]
        return self._valid[row : row + self._size, col : col + self._size]

    def mask(self, number: int) -> Mask:
        """Return a window's class ids, (size, size)."""
        row, col = self._places[number]
        if self._masks is not None and row < self._masks.shape[0] and col < self._masks.shape[1]:
            fitting: Mask = self._masks[row, col]
            return fitting
        return self._mirrored(self._mask[row : row + self._size, col : col + self._size])

    def image(self, number: int) -> NDArray[Any]:
        """Return a window's pixels, (size, size, C)."""
        row, col = self._places[number]
        if self._images is not None and row < self._images.shape[0] and col < self._images.shape[1]:
            fitting: NDArray[Any] = self._images[row, col, 0]
            return fitting
        assert self._pixels is not None
        return self._mirrored(self._pixels[row : row + self._size, col : col + self._size])

    def _mirrored(self, inside: NDArray[Any]) -> NDArray[Any]:
        rows, cols = (reflected(0, self._size, extent) for extent in inside.shape[:2])
        return inside[np.ix_(rows, cols)]


def check_size(record: SceneRecord, reader: SceneReader) -> None:
    """Check that a scene is what the dataset says.

    Raises:
        BadDataError: another size or number of bands.
    """
    if (reader.height, reader.width, reader.count) != (record.height, record.width, len(record.bands)):
        raise BadDataError(
            f"Scene {record.path} has {reader.height} x {reader.width} pixels in {reader.count} bands, its catalog "
            f"entry says {record.height} x {record.width} in {len(record.bands)}. Ingest it again."
        )
