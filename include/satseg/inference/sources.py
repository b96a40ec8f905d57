"""What a user may name as a scene, and reading it the way the model wants it."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT

from satseg.datasets.catalog import DatasetVersion, SceneRecord, open_version
from satseg.datasets.checksums import sha256_of
from satseg.errors import BadDataError, ConfigurationError, NotFoundError
from satseg.models.interface import ModelDescription
from satseg.scenes.grid import Grid, gsd_of, target_grid
from satseg.scenes.raster import SceneReader
from satseg.scenes.source import SourceHeader, open_source, read_header
from satseg.scenes.transcode import resampling_for
from satseg.storage.layout import Workspace


@dataclass(frozen=True)
class SceneInput:
    """A scene to predict: of the dataset, or any raster file."""

    id: str
    path: Path
    checksum: str  # sha256 of the file
    source_checksum: str  # sha256 of the file the scene was ingested from
    dataset_version: str | None  # None for a file
    acquired: str | None = None  # ISO 8601


def resolve_scenes(references: list[str], project: str, workspace: Workspace) -> list[SceneInput]:
    """Find each named scene in the newest dataset version, or else as a file.

    Raises:
        ConfigurationError: it is neither; the message names the nearest scene ids. Or two would share a folder.
    """
    try:
        dataset = open_version(workspace, project)
    except NotFoundError:
        dataset = None
    scenes: dict[str, SceneInput] = {}
    for reference in references:
        scene = _resolve(reference, dataset)
        other = scenes.setdefault(scene.id, scene)
        if other.path != scene.path:
            raise ConfigurationError(
                f"{other.path} and {scene.path} would both be written as scene '{scene.id}'. "
                "Rename one, or predict them one at a time with different --out folders."
            )
    return list(scenes.values())


def _resolve(reference: str, dataset: DatasetVersion | None) -> SceneInput:
    records = {record.id: record for record in dataset.scenes} if dataset else {}
    if dataset and (record := records.get(reference)):
        return _of_dataset(record, dataset)
    path = Path(reference)
    if path.is_file():
        checksum = sha256_of(path)
        scene_id = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:100] or "scene"
        known = records.get(scene_id)
        if dataset and known and checksum in {known.checksum, known.source_checksum}:
            return _of_dataset(known, dataset)
        if known:
            scene_id = f"{scene_id}-{checksum[:8]}"  # a stranger of the same name must not replace the scene's map
        return SceneInput(scene_id, path.resolve(), checksum, checksum, None)
    near = difflib.get_close_matches(reference, records, n=3, cutoff=0.4) or sorted(records)[:5]
    hint = f"nearest scene ids of {dataset.name}: {', '.join(near)}" if dataset else "the project has no dataset yet"
    raise ConfigurationError(f"'{reference}' is neither a scene of the dataset nor a file; {hint}.")


def _of_dataset(record: SceneRecord, dataset: DatasetVersion) -> SceneInput:
    acquired = record.item.get("properties", {}).get("datetime")
    return SceneInput(record.id, record.path, record.checksum, record.source_checksum, dataset.name, acquired)


class SceneRows:
    """An open scene on the grid of its map, read by rows: all of its columns or some."""

    def __init__(self, reader: SceneReader, bands: tuple[int, ...], columns: range | None = None) -> None:
        self._reader, self._channels = reader, [band - 1 for band in bands]
        self._columns = range(reader.width) if columns is None else columns
        self.height, self.width = reader.height, reader.width

    def read_rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (stop - start, columns, C) and which of them are data (stop - start, columns)."""
        left, width = self._columns.start, len(self._columns)
        if stop <= start:
            return np.zeros((0, width, len(self._channels)), self._reader.dtype), np.zeros((0, width), bool)
        pixels = self._reader.read(start, left, stop - start, width, pad="none")
        if self._channels != list(range(pixels.shape[-1])):
            pixels = pixels[..., self._channels]
        return pixels, self._reader.valid_mask(start, left, stop - start, width)

    def read_window(self, row: int, col: int, height: int, width: int) -> NDArray[Any]:
        """Return pixels (H, W, C) of a window, which may reach over the edges: they are mirrors."""
        return self._reader.read(row, col, height, width)[..., self._channels]

    def valid_window(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels of a window (H, W) are data."""
        return self._reader.valid_mask(row, col, height, width)


@dataclass(frozen=True)
class ReadPlan:
    """How a scene is read for a model, and what people should know about it."""

    path: Path
    header: SourceHeader
    grid: Grid
    warnings: tuple[str, ...]

    @contextmanager
    def open(self, columns: range | None = None) -> Iterator[SceneRows]:
        """Open the scene, or some of its columns; use it from one thread."""
        with open_source(self.path) as dataset:
            if self.grid is self.header.grid:
                yield SceneRows(SceneReader(dataset, self.path), self.header.bands, columns)
                return
            with self._resampled(dataset) as vrt:
                yield SceneRows(SceneReader(vrt, self.path), self.header.bands, columns)

    def _resampled(self, dataset: Any) -> Any:
        return WarpedVRT(
            dataset,
            src_crs=self.header.grid.crs,
            src_transform=self.header.grid.transform,
            crs=self.grid.crs,
            transform=self.grid.transform,
            height=self.grid.height,
            width=self.grid.width,
            resampling=resampling_for(self.header.grid, self.grid),
            src_nodata=self.header.nodata,
            nodata=self.header.nodata,
            # GDAL hands a mask on only as an alpha band
            add_alpha=self.header.has_mask and dataset.count == len(self.header.bands),
        )


def plan_reading(scene: SceneInput, description: ModelDescription, model: str) -> ReadPlan:
    """Compare a scene with what the model was trained on and decide on which grid it is read.

    Raises:
        BadDataError: not a raster, or another number of bands or another pixel type than the model's.
    """
    try:
        header = read_header(scene.path)
    except BadDataError as error:
        raise BadDataError(f"Scene '{scene.id}' ({scene.path}): {error}.") from error
    if len(header.bands) != len(description.bands):
        raise BadDataError(
            f"Scene '{scene.id}' has {len(header.bands)} bands, but model {model} was trained on "
            f"{len(description.bands)} ({', '.join(description.bands)}). Give a file with these bands in this order."
        )
    if header.dtype != description.dtype:
        raise BadDataError(
            f"Scene '{scene.id}' has {header.dtype} pixels, but model {model} was trained on {description.dtype}. "
            "Bring the file to the value range of the training scenes first."
        )
    grid = target_grid(header.grid, None, description.gsd_m)
    warnings = [f"Scene '{scene.id}' {note}." for note in header.notes]
    if grid.crs is None:
        warnings.append(f"Scene '{scene.id}' has no CRS: its maps and polygons are in pixel coordinates.")
    elif grid is not header.grid:
        warnings.append(
            f"Scene '{scene.id}' has pixels of {gsd_of(header.grid):.3g} m; it is read at the model's GSD of "
            f"{description.gsd_m:g} m, and its maps are on that grid ({grid.width} x {grid.height} pixels)."
        )
    return ReadPlan(scene.path, header, grid, tuple(warnings))
