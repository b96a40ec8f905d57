"""Cutting one scene: first what is in each window, then the pixels of those that are kept, cell by cell."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from patchify import patchify
from pydantic import BaseModel, ConfigDict

from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.annotations.table import AnnotationTable, read_table
from satseg.config.patches import PatchConfig
from satseg.datasets.catalog import SceneRecord
from satseg.errors import BadDataError
from satseg.patches.moments import Moments
from satseg.patches.patchset import SPLITS
from satseg.patches.plan import PatchPlan
from satseg.patches.sampling import decide
from satseg.patches.shards import Record, ShardWriter
from satseg.progress import Advance, progress_bar
from satseg.scenes.raster import SceneReader, open_scene, reflected
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory, write_json

if TYPE_CHECKING:
    import pandas as pd

CELL_BYTES = 24 * 2**20  # pixels held at a time
Mask = NDArray[np.uint8]

TABLE_FILE = "windows.parquet"
PART_FILE = "part.json"
LOCK_FILE = "extract.lock"  # goes with the parts when the patch set is complete


class Part(BaseModel):
    """What one scene gave; stored as part.json beside its shards and its table of windows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: str
    windows: dict[str, int]
    pixels: int
    mean: tuple[float, ...]
    squares: tuple[float, ...]
    class_pixels: tuple[int, ...]


@dataclass
class Cell:
    """Neighbouring windows that are read together: their rows in the table and the rectangle they span."""

    index: NDArray[np.int64]
    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


def extract_scene(plan: PatchPlan, scene: str, force: bool = False) -> Part:
    """Write a scene's windows into its part folder, which appears whole; done before means nothing to do.

    Raises:
        NotFoundError: no such scene in the plan.
        BadDataError: pixels or labels cannot be read.
        LockHeldError: another process extracts the same scene.
    """
    record = plan.record(scene)
    target = plan.part(scene)
    with exclusive(target.parent / LOCK_FILE, f"Scene '{scene}' of patch set {plan.id}"):
        remove_stale_temps(target.parent)
        if target.exists() and not force:
            return read_part(target)
        with replacing_directory(target) as folder, open_scene(record.path) as reader:
            _Extraction(plan, record, reader).write(folder)
    return read_part(target)


def read_part(folder: Path) -> Part:
    """Return what a scene gave."""
    return Part.model_validate_json((folder / PART_FILE).read_text(encoding="utf-8"))


class _Extraction:
    def __init__(self, plan: PatchPlan, record: SceneRecord, reader: SceneReader) -> None:
        self._plan = plan
        self._scene = record
        self._reader = reader
        self._config: PatchConfig = plan.project.patches
        self._classes = plan.project.classes
        self._polygons = PolygonIndex(read_table(record.annotations) if record.annotations else AnnotationTable())
        if (reader.height, reader.width, reader.count) != (record.height, record.width, len(record.bands)):
            raise BadDataError(
                f"Scene {record.path} has {reader.height} x {reader.width} pixels in {reader.count} bands, its catalog "
                f"entry says {record.height} x {record.width} in {len(record.bands)}. Ingest it again."
            )
        self._record = Record(self._config.size_px, reader.count, reader.dtype)

    def write(self, folder: Path) -> None:
        table = self._table()
        cells = list(self._cells(table))
        with progress_bar(f"patches of {self._scene.id}", 2 * len(cells)) as advance:
            data_fraction = np.zeros(len(table))
            fractions = np.zeros((len(table), len(self._classes)))
            for cell in cells:
                data_fraction[cell.index], fractions[cell.index] = self._survey(table, cell)
                advance()
            # padding has no data either, but a scene smaller than a patch is not dropped for it
            inside = min(self._scene.height, self._config.size_px) * min(self._scene.width, self._config.size_px)
            table["nodata_fraction"] = 1 - data_fraction * inside / self._config.size_px**2
            for number, name in enumerate(self._classes):
                table[f"fraction_{name}"] = fractions[:, number]
            decide(table, data_fraction, self._config, self._scene.id)
            part = self._write_shards(folder, table, cells, advance)
        table.to_parquet(folder / TABLE_FILE, index=False)
        write_json(folder / PART_FILE, part.model_dump(mode="json"))

    def _table(self) -> "pd.DataFrame":
        """Return all windows, in the order they will be written: by cell, then by row and column."""
        import pandas as pd

        table = pd.DataFrame(self._plan.windows(self._scene), columns=["row", "col", "split", "block", "reason"])
        side = self._cell_side()
        table["cell_row"], table["cell_col"] = table["row"] // side, table["col"] // side
        order = ["cell_row", "cell_col", "row", "col", "split"]
        return table.sort_values(order, kind="stable").reset_index(drop=True)

    def _cell_side(self) -> int:
        pixel = self._reader.count * np.dtype(self._reader.dtype).itemsize + 2  # and its mask and validity
        side = int((CELL_BYTES / pixel) ** 0.5) - self._config.size_px
        return max(side // 512 * 512, self._config.size_px)

    def _cells(self, table: "pd.DataFrame") -> Iterator[Cell]:
        size = self._config.size_px
        for found in table.groupby(["cell_row", "cell_col"], sort=True).indices.values():
            index = np.sort(found)
            rows, cols = table["row"].to_numpy()[index], table["col"].to_numpy()[index]
            bottom = min(int(rows.max()) + size, self._scene.height)
            right = min(int(cols.max()) + size, self._scene.width)
            yield Cell(index, int(rows.min()), int(cols.min()), bottom, right)

    def _survey(self, table: "pd.DataFrame", cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the part of each of the cell's windows that has data, (N,), and that is each class, (N, classes)."""
        size, ids = self._config.size_px, range(1, len(self._classes) + 1)
        valid, masks = self._valid(cell), self._patches(self._mask(cell))
        data, fractions = np.ones(len(cell.index)), np.zeros((len(cell.index), len(ids)))
        for i, (row, col) in enumerate(self._places(table, cell)):
            data[i] = valid[row : row + size, col : col + size].mean()
            fractions[i] = [np.count_nonzero(masks[row, col] == number) / size**2 for number in ids]
        return data, fractions

    def _write_shards(self, folder: Path, table: "pd.DataFrame", cells: list[Cell], advance: Advance) -> Part:
        kept = {split: table["kept"] & (table["split"] == split) for split in SPLITS}
        table["position"] = np.where(table["kept"], sum(rows.cumsum() * rows for rows in kept.values()) - 1, -1)
        counts = {split: int(rows.sum()) for split, rows in kept.items()}
        capacity = self._record.capacity(self._config.shard_mib)
        moments = Moments.none(self._record.channels)
        class_pixels = np.zeros(len(self._classes) + 1, dtype=np.int64)
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(ShardWriter(folder, split, self._record, counts[split], capacity))
                for split in SPLITS
            }
            for cell in cells:
                cell.index = cell.index[table["kept"].to_numpy()[cell.index]]
                for split, image, mask, valid in self._kept(table, cell):
                    writers[split].write(image, mask)
                    if split == "train":
                        moments += Moments.of(image[: valid.shape[0], : valid.shape[1]], valid)
                        seen = mask[: valid.shape[0], : valid.shape[1]][valid]
                        class_pixels += np.bincount(seen, minlength=len(class_pixels))
                advance()
        return Part(
            scene=self._scene.id,
            windows=counts,
            pixels=moments.count,
            mean=tuple(moments.mean.tolist()),
            squares=tuple(moments.squares.tolist()),
            class_pixels=tuple(class_pixels.tolist()),
        )

    def _kept(self, table: "pd.DataFrame", cell: Cell) -> Iterator[tuple[str, NDArray[Any], Mask, NDArray[np.bool_]]]:
        """Yield split, image, mask and validity of the cell's windows; validity only inside the scene."""
        if not len(cell.index):
            return
        size = self._config.size_px
        valid, masks = self._valid(cell), self._patches(self._mask(cell))
        pixels = self._reader.read(cell.top, cell.left, *cell.shape, pad="none")
        # nodata is 0 in shards, whatever fill value the scene has, so that no -9999 or NaN reaches a model
        if not valid.all():
            pixels[~valid] = 0
        if np.issubdtype(pixels.dtype, np.floating):
            pixels[~np.isfinite(pixels)] = 0
        images = self._patches(pixels)
        splits = table["split"].to_numpy()[cell.index]
        for split, (row, col) in zip(splits, self._places(table, cell), strict=True):
            yield split, images[row, col], masks[row, col], valid[row : row + size, col : col + size]

    def _places(self, table: "pd.DataFrame", cell: Cell) -> list[tuple[int, int]]:
        rows, cols = table["row"].to_numpy()[cell.index], table["col"].to_numpy()[cell.index]
        return list(zip((rows - cell.top).tolist(), (cols - cell.left).tolist(), strict=True))

    def _mask(self, cell: Cell) -> Mask:
        transform = window_transform(self._reader.transform, cell.top, cell.left)
        return self._polygons.rasterize(transform, *cell.shape)

    def _valid(self, cell: Cell) -> NDArray[np.bool_]:
        return self._reader.valid_mask(cell.top, cell.left, *cell.shape)

    def _patches(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return a view of all windows of a cell, (rows, cols, size, size[, C]); a smaller scene is mirrored first."""
        size, (height, width) = self._config.size_px, pixels.shape[:2]
        if height < size or width < size:
            rows = reflected(0, max(height, size), height)
            pixels = pixels[np.ix_(rows, reflected(0, max(width, size), width))]
        if pixels.ndim == 2:
            views: NDArray[Any] = patchify(pixels, (size, size), step=1)
            return views
        views = patchify(pixels, (size, size, pixels.shape[2]), step=1)
        return views[:, :, 0]
