"""Predicting one scene: its parts in order, its objects while they come, then all its files at once."""

import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Condition
from typing import NamedTuple

import numpy as np

from satseg.config.operation import InferenceConfig
from satseg.inference import item
from satseg.inference.blend import FinishedRows, Predict, blend
from satseg.inference.chosen_model import ChosenModel
from satseg.inference.components import find_groups
from satseg.inference.encoding import decode
from satseg.inference.geojson import PolygonTotals, write_geojson
from satseg.inference.ground import Ground
from satseg.inference.item import PredictionRecord
from satseg.inference.maps import Maps
from satseg.inference.overlay import draw_overlay
from satseg.inference.parts import PART_ROWS, Layout, Parts, plan_layout
from satseg.inference.polygon_files import write_formats
from satseg.inference.polygons import Identity, map_objects, polygon_rules
from satseg.inference.sources import ReadPlan, SceneInput
from satseg.inference.symmetries import with_symmetries
from satseg.inference.windows import Region, Strip, WindowGrid, plan_windows, read_ahead, read_strips
from satseg.progress import progress_bar, say
from satseg.scenes.raster import blocks_given_back, give_back_memory
from satseg.storage.atomic import TEMP_PREFIX, replacing_directory, write_json


class Job(NamedTuple):
    """One scene to predict."""

    scene: SceneInput
    plan: ReadPlan
    target: Path
    record: PredictionRecord  # of what goes in
    key: str  # hash of it

    @property
    def parts_folder(self) -> Path:
        """Where its finished parts are kept until the prediction is complete."""
        return self.target.parent / f"{TEMP_PREFIX}parts-{self.target.name}-{self.key}"

    def remove_parts(self) -> None:
        """Remove the parts of this target, those of other settings too."""
        for folder in self.target.parent.glob(f"{TEMP_PREFIX}parts-{self.target.name}-{'[0-9a-f]' * 12}"):
            shutil.rmtree(folder, ignore_errors=True)


class SceneMapper:
    """Predicts one scene with one model."""

    def __init__(self, job: Job, model: ChosenModel, config: InferenceConfig) -> None:
        grid, about = job.plan.grid, model.description
        self._job, self._model, self._config = job, model, config
        self._windows = plan_windows(grid.height, grid.width, config.window_px, config.overlap)
        itemsize = np.dtype(about.dtype).itemsize
        self.layout = plan_layout(self._windows, len(about.bands), itemsize, about.channels)
        parts = Parts(job.parts_folder, self.layout, len(about.classes), config.probability)
        self._maps = Maps(parts, grid, about.classes, config.threshold)

    def predict_share(self, number: int, of: int) -> range:
        """Predict the parts of one of several equal shares of the rows, and return these rows."""
        rows = self.layout.share(number, of)
        self._predict(rows, lambda part: None)
        return rows

    def predict(self) -> PredictionRecord:
        """Make all files of the scene in a temp folder that becomes the target; the item is written last."""
        job = self._job
        with replacing_directory(job.target) as folder:
            totals = self._predict_and_trace(folder / item.POLYGONS_FILE)
            say(f"{job.scene.id}: writing the maps")
            give_back_memory()
            with blocks_given_back():
                self._write_files(folder)
            give_back_memory()
            finished = job.record.model_copy(update=totals._asdict())
            write_json(folder / item.ITEM_FILE, item.build_item(folder, job.scene, job.plan.grid, finished))
        job.remove_parts()
        return finished

    def _write_files(self, folder: Path) -> None:
        """Make the maps in two threads, and what is drawn from the polygons meanwhile."""
        job, polygons = self._job, folder / item.POLYGONS_FILE
        tags = {
            "satseg_model": self._model.label,
            "satseg_run": self._model.run_id,
            "satseg_scene": job.scene.checksum,
        }
        with ThreadPoolExecutor(max_workers=2) as pool:
            maps = [
                pool.submit(self._maps.write_probability, folder / item.PROBABILITY_FILE, tags),
                pool.submit(self._maps.write_classes, folder / item.CLASSES_FILE, tags),
            ]
            draw_overlay(job.scene.path, polygons, None, folder / item.PREVIEW_FILE)
            write_formats(polygons, self._config.polygon_formats, job.plan.grid.crs)
            for written in maps:
                written.result()

    def _predict_and_trace(self, geojson: Path) -> PolygonTotals:
        """Predict what is missing, and trace objects in a second thread through the rows that are complete."""
        rows = range(self.layout.height)
        complete = _CompleteRows(self.layout, self._maps.parts.finished)
        with ThreadPoolExecutor(max_workers=1) as pool:
            traced: Future[PolygonTotals] = pool.submit(self._trace, geojson, complete.wait_for)

            def note(part: Region) -> None:
                complete.add(part)
                if traced.done():
                    traced.result()  # it ends before the rows do only with an error

            try:
                self._predict(rows, note)
                return traced.result()
            finally:
                complete.stop()

    def _trace(self, geojson: Path, wait_for: Callable[[int], None]) -> PolygonTotals:
        grid, about, config = self._job.plan.grid, self._model.description, self._config
        ground = Ground(grid)
        rules = polygon_rules(config, ground, about.gsd_m, about.classes)
        identity = Identity(self._job.scene.id, self._model.label, about.classes)
        strips = self._maps.strips(wait_for)
        groups = find_groups(strips, rules.least_pixels, grouped=len(about.classes) > 1, decode=decode)
        return write_geojson(geojson, map_objects(groups, ground, rules, identity), grid)

    def _predict(self, rows: range, on_part: Callable[[Region], None]) -> None:
        area = max(1, len(rows) * self.layout.width)
        missing = list(self._maps.parts.missing(rows))
        with progress_bar(f"{self._job.scene.id}: rows", len(rows)) as advance:
            advance(len(rows) * (1 - sum(_area(region) for region in missing) / area))
            predict = with_symmetries(self._model.segmenter.predict, self._config.test_time) if missing else None
            for region in missing:
                assert predict is not None
                with closing(read_ahead(self._blended(region, predict))) as blended:
                    counted = _counted(blended, lambda finished: advance(finished.valid.size / self.layout.width))
                    for part in self._maps.write(region, counted):
                        on_part(part)

    def _blended(self, region: Region, predict: Predict) -> Generator[FinishedRows]:
        windows = self._windows.part(region)
        with closing(read_ahead(_strips(self._job.plan, windows))) as strips:
            yield from blend(
                strips,
                windows,
                predict,
                self._model.description.channels,
                self._config.batch_size,
                weighting=self._config.weighting,
            )


def _area(region: Region) -> int:
    return (region.bottom - region.top) * (region.right - region.left)


def _counted(rows: Iterator[FinishedRows], count: Callable[[FinishedRows], None]) -> Iterator[FinishedRows]:
    for finished in rows:
        yield finished
        count(finished)


def _strips(plan: ReadPlan, windows: WindowGrid) -> Generator[Strip]:
    with plan.open(windows.columns) as rows:
        yield from read_strips(rows, windows)


class _CompleteRows:
    """How many rows from the top are on disk in their whole width."""

    def __init__(self, layout: Layout, finished: Callable[[Region], bool]) -> None:
        self._missing: dict[int, int] = dict.fromkeys(range(0, layout.height, PART_ROWS), 0)
        for part in layout.parts():
            self._missing[part.top] += not finished(part)
        self._changed, self._stopped = Condition(), False

    def add(self, part: Region) -> None:
        """Note that a part is on disk."""
        with self._changed:
            self._missing[part.top] -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """No more parts will come."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_for(self, row: int) -> None:
        """Return when all rows above `row` are complete.

        Raises:
            InterruptedError: they never will be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._complete(row))
            if not self._complete(row):
                raise InterruptedError("The prediction was stopped.")

    def _complete(self, row: int) -> bool:
        while self._missing and (first := next(iter(self._missing))) < row:
            if self._missing[first]:
                return False
            del self._missing[first]
        return True
