"""Tiny seeded scenes and dataset versions, made without DVC."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from satseg.annotations.table import AnnotationTable, LabelledPolygon, write_table
from satseg.config.project import ProjectConfig, parse_project
from satseg.datasets.catalog import DatasetVersion, SceneRecord
from satseg.errors import NotFoundError
from satseg.patches.generate import run
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.stages import PatchResult, PatchSpec
from satseg.storage.layout import Workspace

UTM = "EPSG:32636"
ORIGIN = (450_000.0, 40_000.0)


@dataclass
class SceneSpec:
    """What a test scene looks like; `polygons` are (pixel geometry, class id), None means unlabelled."""

    id: str = "scene"
    height: int = 256
    width: int = 256
    gsd_m: float = 0.5
    offset_px: tuple[float, float] = (0.0, 0.0)
    crs: str | None = UTM
    origin: tuple[float, float] = ORIGIN
    polygons: list[tuple[Any, int]] | None = field(default_factory=list)
    bands: int = 3
    dtype: str = "uint8"
    nodata: float | None = None
    seed: int = 0
    pixels: Any = None
    affine: Affine | None = None  # instead of gsd, origin and offset


def transform_of(spec: SceneSpec) -> Affine:
    if spec.crs is None:
        return Affine.identity()
    if spec.affine is not None:
        return spec.affine
    down, right = spec.offset_px
    x, y = spec.origin[0] + right * spec.gsd_m, spec.origin[1] - down * spec.gsd_m
    return Affine(spec.gsd_m, 0, x, 0, -spec.gsd_m, y)


def footprint(spec: SceneSpec) -> tuple[float, float, float, float] | None:
    if spec.crs is None:
        return None
    cols, rows = np.array([0, spec.width, spec.width, 0.0]), np.array([0, 0, spec.height, spec.height + 0.0])
    lon, lat = Transformer.from_crs(spec.crs, "EPSG:4326", always_xy=True).transform(
        *(transform_of(spec) @ (cols, rows))
    )
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def record_of(spec: SceneSpec, path: Path = Path("none.tif"), annotations: Path | None = None) -> SceneRecord:
    labels = annotations.read_bytes() if annotations else b""
    pixels = path.read_bytes() if path.exists() else repr(spec).encode()
    return SceneRecord(
        id=spec.id,
        path=path,
        annotations=annotations,
        labelled=spec.polygons is not None,
        checksum=hashlib.sha256(pixels).hexdigest(),
        source_checksum=hashlib.sha256(pixels).hexdigest(),
        annotation_checksum=hashlib.sha256(labels).hexdigest() if spec.polygons is not None else None,
        ingested_at=datetime(2026, 1, 1, tzinfo=UTC),
        crs=spec.crs,
        gsd_m=spec.gsd_m if spec.crs else None,
        width=spec.width,
        height=spec.height,
        bands=tuple(f"band{i}" for i in range(spec.bands)),
        dtype=spec.dtype,
        nodata=spec.nodata,
        transform=tuple(transform_of(spec))[:6],
        footprint_wgs84=footprint(spec),
        item={"id": spec.id, "properties": {}},
    )


def outline(record: SceneRecord, row: int, col: int, size: int, crs: str = UTM) -> shapely.Polygon:
    """A window in metres of one common CRS."""
    bottom, right = min(row + size, record.height), min(col + size, record.width)
    cols, rows = np.array([col, right, right, col]), np.array([row, row, bottom, bottom])
    xs, ys = Affine(*record.transform) @ (cols, rows)
    return shapely.Polygon(np.stack(Transformer.from_crs(record.crs, crs, always_xy=True).transform(xs, ys), axis=1))


def write_scene(folder: Path, spec: SceneSpec) -> SceneRecord:
    """Write a scene and its labels, as an ingest would have."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(spec.seed)
    pixels = spec.pixels
    if pixels is None:
        pixels = rng.integers(1, 250, (spec.height, spec.width, spec.bands)).astype(spec.dtype)
    path = folder / f"{spec.id}.tif"
    profile = {
        "driver": "GTiff", "height": spec.height, "width": spec.width, "count": spec.bands, "dtype": spec.dtype,
        "crs": spec.crs, "transform": transform_of(spec), "nodata": spec.nodata, "tiled": True,
        "blockxsize": 128, "blockysize": 128, "compress": "deflate",
        # as in an ingested scene; GDAL's own choice would mark a fourth band as alpha
        "photometric": "RGB" if spec.bands == 3 else "MINISBLACK",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels.transpose(2, 0, 1))
    annotations = None
    if spec.polygons is not None:
        transform = transform_of(spec)
        placed = (
            (shapely.transform(geometry, lambda xy: np.stack(transform @ (xy[:, 0], xy[:, 1]), axis=1)), number)
            for geometry, number in spec.polygons
        )
        table = AnnotationTable(
            tuple(LabelledPolygon(geometry, number, f"class{number}") for geometry, number in placed)
        )
        annotations = folder / f"{spec.id}.geojson"
        write_table(table, annotations, spec.crs)
    return record_of(spec, path, annotations)


def scattered(count: int, height: int, width: int, seed: int = 0, classes: int = 1) -> list[tuple[Any, int]]:
    """Return small roofs (rotated rectangles) all over a scene."""
    rng = np.random.default_rng(seed)
    roofs = []
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        box = shapely.box(x - rng.uniform(4, 15), y - rng.uniform(4, 15), x + 8, y + 8)
        roofs.append((shapely.affinity.rotate(box, rng.uniform(0, 90)), int(rng.integers(1, classes + 1))))
    return roofs


SMALL = (
    "patches.size_px=32", "patches.stride_px=16", "patches.block_px=64", "patches.buffer_m=2", "patches.buffer_px=4",
)  # fmt: skip


def small_project(*overrides: str, classes: str = "[roof]") -> ProjectConfig:
    return parse_project(f"name: town\nclasses: {classes}\nbands: [red, green, blue]\n", "test", (*SMALL, *overrides))


def town_scenes() -> list[SceneSpec]:
    """Two labelled scenes and an unlabelled one."""
    return [
        SceneSpec("east", 192, 256, polygons=scattered(40, 192, 256, 1), seed=1),
        SceneSpec("north", 130, 120, offset_px=(2000, 0), polygons=scattered(15, 130, 120, 2), seed=2),
        SceneSpec("wild", 128, 128, offset_px=(0, 3000), polygons=None, seed=3),
    ]


class Versions:
    """Dataset versions of the project 'town' for `open_version`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions: list[DatasetVersion] = []

    def add(self, *specs: SceneSpec) -> str:
        """Make the next version hold exactly these scenes."""
        name = f"v{len(self._versions) + 1}"
        scenes = tuple(write_scene(self.folder / name, spec) for spec in specs)
        created = datetime(2026, 1, 1, tzinfo=UTC)
        self._versions.append(DatasetVersion("town", name, "0" * 40, created, scenes, ""))
        return name

    def same_as(self, name: str) -> str:
        """Make the next version equal to an older one."""
        found = self.open(None, "town", name)
        self._versions.append(replace(found, name=f"v{len(self._versions) + 1}"))
        return self._versions[-1].name

    def open(self, workspace: Workspace | None, project: str, version: str | None = None) -> DatasetVersion:
        """Stand in for satseg.datasets.catalog.open_version."""
        for found in reversed(self._versions):
            if version in {None, found.name}:
                return found
        raise NotFoundError(f"no dataset version {version}")


def patch(workspace: Workspace, project: ProjectConfig | None = None, **options: object) -> PatchResult:
    """Run the stage on the project 'town'."""
    return run(PatchSpec.model_validate({"project": project or small_project(), **options}), workspace)


def opened(workspace: Workspace, result: PatchResult) -> PatchSet:
    return open_patch_set(workspace, "town", result.patch_set)


def bytes_of(patch_set: PatchSet) -> dict[str, bytes]:
    """Return the files that must be the same for the same inputs."""
    shards = [path.name for pair in patch_set.shard_files() for path in pair]
    return {name: (patch_set.folder / name).read_bytes() for name in [*shards, "manifest.parquet", "statistics.json"]}
