"""Cutting one scene: first what is in each window, then the pixels of those that are kept, cell by cell.

Threads read, rasterise and cut ahead while this one writes; what is written does not depend on their number.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from satseg.config.patches import PatchConfig
from satseg.datasets.catalog import SceneRecord
from satseg.patches.cells import Cell, CellReader, Content, cell_side, cells_of, check_size
from satseg.patches.memory import give_back
from satseg.patches.moments import Moments
from satseg.patches.overlap import in_order
from satseg.patches.patchset import SPLITS
from satseg.patches.plan import PatchPlan
from satseg.patches.sampling import Sample, decide
from satseg.patches.shards import Record, ShardWriter
from satseg.patches.twins import DIGEST, digest_of
from satseg.patches.windows import Window
from satseg.progress import Advance, progress_bar
from satseg.storage.atomic import exclusive, remove_stale_temps, replacing_directory, write_json

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILE = "windows.parquet"
PART_FILE = "part.json"
LOCK_FILE = "extract.lock"  # goes with the parts when the patch set is complete
TRIM_EVERY = 16  # cells after which freed memory is given back
MOST_THREADS = 3  # each holds a cell; more would not write faster


class Part(BaseModel):
    """What one scene gave; stored as part.json beside its shards and its table of windows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: str
    windows: dict[str, int]
    pixels: int
    mean: tuple[float, ...]
    squares: tuple[float, ...]
    class_pixels: tuple[int, ...]
    hard_negatives: int = 0


def default_threads() -> int:
    """Return how many threads prepare cells when nobody says."""
    return max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))


def extract_scene(plan: PatchPlan, scene: str, force: bool = False, threads: int | None = None) -> Part:
    """Write a scene's windows into its part folder, which appears whole; done before means nothing to do.

    Args:
        plan: the patch set.
        scene: id of a labelled scene.
        force: do it again.
        threads: number of threads that prepare cells, of which the result does not depend.

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
        threads = threads or default_threads()
        cells = CellReader(record, plan.project.patches.size_px, len(plan.project.classes), threads)
        with replacing_directory(target) as folder, cells:
            check_size(record, cells.scene)
            _Extraction(plan, record, cells, threads).write(folder)
    return read_part(target)


def read_part(folder: Path) -> Part:
    """Return what a scene gave."""
    return Part.model_validate_json((folder / PART_FILE).read_text(encoding="utf-8"))


class _Extraction:
    def __init__(self, plan: PatchPlan, record: SceneRecord, cells: CellReader, threads: int) -> None:
        self._plan = plan
        self._scene = record
        self._cells = cells
        self._threads = threads
        self._config: PatchConfig = plan.project.patches
        self._classes = plan.project.classes
        self._record = Record(self._config.size_px, cells.scene.count, cells.scene.dtype)

    def write(self, folder: Path) -> None:
        table = self._table()
        cells = cells_of(table, self._config.size_px, self._scene.height, self._scene.width)
        with progress_bar(f"patches of {self._scene.id}", 2 * len(cells)) as advance:
            sample = self._survey(table, cells, advance)
            give_back()
            part = self._write_shards(folder, table, cells, advance)
        table.to_parquet(folder / TABLE_FILE, index=False)
        part = part.model_copy(update={"hard_negatives": sample.hard_negatives})
        write_json(folder / PART_FILE, part.model_dump(mode="json"))

    def _table(self) -> "pd.DataFrame":
        """Return all windows, in the order they will be written: by cell, then by row and column."""
        import pandas as pd

        windows = self._plan.windows(self._scene)
        table = pd.DataFrame(dict(zip(Window._fields, windows.columns, strict=True)))
        side = cell_side(self._cells.scene, self._config.size_px)
        table["cell_row"], table["cell_col"] = table["row"] // side, table["col"] // side
        order = ["cell_row", "cell_col", "row", "col", "split"]
        return table.sort_values(order, kind="stable").reset_index(drop=True)

    def _survey(self, table: "pd.DataFrame", cells: list[Cell], advance: Advance) -> Sample:
        """Fill in what is in each window and whether it is kept."""
        data_fraction = np.zeros(len(table))
        fractions = np.zeros((len(table), len(self._classes)))
        for cell, survey in zip(cells, in_order(self._cells.survey, cells, self._threads), strict=True):
            data_fraction[cell.index], fractions[cell.index] = survey.data, survey.fractions
            advance()
        size = self._config.size_px
        # padding has no data either, but a window at the edge is not dropped for it
        inside = np.minimum(self._scene.height - table["row"], size) * np.minimum(
            self._scene.width - table["col"], size
        )
        table["nodata_fraction"] = 1 - data_fraction * inside / size**2
        for number, name in enumerate(self._classes):
            table[f"fraction_{name}"] = fractions[:, number]
        return decide(table, data_fraction, self._config, self._scene.id, self._plan.hard)

    def _write_shards(self, folder: Path, table: "pd.DataFrame", cells: list[Cell], advance: Advance) -> Part:
        splits, is_kept = table["split"].to_numpy(), table["kept"].to_numpy()
        kept = {split: is_kept & (splits == split) for split in SPLITS}
        table["position"] = np.where(is_kept, sum(rows.cumsum() * rows for rows in kept.values()) - 1, -1)
        counts = {split: int(rows.sum()) for split, rows in kept.items()}
        capacity = self._record.capacity(self._config.shard_mib)
        moments = Moments.none(self._record.channels)
        class_pixels = np.zeros(len(self._classes) + 1, dtype=np.int64)
        digests = np.zeros(len(table), dtype=np.int64)

        def content(cell: Cell) -> Content:
            return self._cells.content(cell, splits[cell.index].tolist())

        full = [some for cell in cells if len((some := cell.only(is_kept[cell.index])).index)]
        advance(len(cells) - len(full))
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(ShardWriter(folder, split, self._record, counts[split], capacity))
                for split in SPLITS
            }
            for number, cut in enumerate(in_order(content, full, self._threads), start=1):
                for row, (split, image, mask) in zip(full[number - 1].index, cut, strict=True):
                    writers[split].write(image, mask)
                    digests[row] = digest_of(image)
                for added in cut.moments:
                    moments += added
                class_pixels += cut.class_pixels
                del cut  # or it would be held while the next is waited for
                advance()
                if number % TRIM_EVERY == 0:
                    give_back()
        table[DIGEST] = digests
        return Part(
            scene=self._scene.id,
            windows=counts,
            pixels=moments.count,
            mean=tuple(moments.mean.tolist()),
            squares=tuple(moments.squares.tolist()),
            class_pixels=tuple(class_pixels.tolist()),
        )
