"""One scene on its way into the dataset: read, converted and measured in the staging folder.

A converted scene is kept under the hash of what went in, so that an ingest that was killed does not convert it twice.
"""

import json
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affine import Affine

from satseg.config.data import RadiometryConfig
from satseg.config.project import ProjectConfig, content_id
from satseg.datasets.checksums import sha256_of
from satseg.datasets.composed import checksum_of
from satseg.datasets.discovery import SceneSource
from satseg.datasets.rules import broken, scene_rules
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid, gsd_of, target_grid
from satseg.scenes.radiometry import output_dtype
from satseg.scenes.recipe import PIXEL_TYPES, Recipe, recipe_of_file, recipe_of_files
from satseg.scenes.transcode import Product, transcode
from satseg.storage.atomic import replacing_directory, write_json

LARGE_BYTES = 32 * 2**20
CONVERSION_VERSION = 1  # raise it when equal input gives other pixels than before


class RefusedByRulesError(BadDataError):
    """A raster that was not converted because what its header says breaks critical rules."""

    def __init__(self, reasons: list[str], row: dict[str, Any]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.row = row


@dataclass(frozen=True)
class StagedScene:
    """A converted scene: the COG and all that was measured on the way."""

    cog: Path
    checksum: str
    size_bytes: int
    source_name: str
    source_files: tuple[str, ...]
    source_checksum: str
    conversion: str
    grid: Grid
    source_grid: Grid
    dtype: str
    nodata: float | None
    acquired: str | None
    resampling: str | None
    processing: tuple[dict[str, Any], ...]
    nodata_fraction: float
    black_fraction: float
    infinite_pixels: int
    statistics: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


def is_large(source: SceneSource) -> bool:
    """Return whether the conversion of a scene fills GDAL's caches."""
    rasters = source.composition.members if source.composition else (source.raster,)
    return sum(path.stat().st_size for path in rasters if path is not None and path.is_file()) > LARGE_BYTES


def source_checksum(source: SceneSource, project: ProjectConfig) -> str:
    """Return the SHA-256 of a scene's pixels as they came: of its raster, or over those of its bands.

    Raises:
        BadDataError: the scene lacks a band.
    """
    assert source.raster is not None
    if source.composition is None:
        return sha256_of(source.raster)
    return checksum_of(source.composition.choose(project.bands, project.band_names))


def conversion_id(source: SceneSource, project: ProjectConfig) -> str:
    """Return the hash of everything besides the source's pixels that decides about the COG's."""
    beside = source.sidecars
    if source.composition is not None:
        beside = (source.composition.file, *beside)
    sidecars = [(path.name, sha256_of(path)) for path in beside]
    parts: list[Any] = [CONVERSION_VERSION, project.bands, project.crs, project.gsd_m, sidecars]
    declared = (project.radiometry, project.resampling, project.band_names)
    if declared != (RadiometryConfig(), "auto", {}):  # the id of a scene that is taken as it is tells nothing of them
        parts += declared
    return content_id(*parts)


def expected(recipe: Recipe, grid: Grid, project: ProjectConfig) -> dict[str, Any]:
    """Return the columns of the scene table that are known before the pixels are read onto `grid`."""
    dtype = recipe.dtype
    return {
        "band_count": len(recipe.bands),
        "dtype": output_dtype(project.radiometry, dtype) if dtype in PIXEL_TYPES else dtype,
        "palette": recipe.palette,
        "width": grid.width,
        "height": grid.height,
        "upsampling": _upsampling(recipe.grid, project),
    }


def _upsampling(source: Grid, project: ProjectConfig) -> float | None:
    gsd = gsd_of(source)
    return gsd / project.gsd_m if gsd and project.gsd_m else None


def measured(staged: StagedScene, band_count: int, project: ProjectConfig) -> dict[str, Any]:
    """Return the columns of the scene table for a converted scene."""
    gsd = gsd_of(staged.grid)
    spans = [band["maximum"] - band["minimum"] for band in staged.statistics]
    return {
        "band_count": band_count,
        "dtype": staged.dtype,
        "palette": False,
        "width": staged.grid.width,
        "height": staged.grid.height,
        "nodata_fraction": staged.nodata_fraction,
        "black_fraction": staged.black_fraction if staged.nodata is None or math.isnan(staged.nodata) else 0.0,
        "infinite_pixels": staged.infinite_pixels,
        "contrast": max(spans, default=0.0),
        "gsd_deviation": abs(gsd / project.gsd_m - 1) if gsd and project.gsd_m else None,
        "upsampling": _upsampling(staged.source_grid, project),
    }


def stage_scene(  # noqa: PLR0917
    source: SceneSource,
    checksum: str,
    conversion: str,
    project: ProjectConfig,
    folder: Path,
    written: Callable[[], None] = lambda: None,
) -> StagedScene:
    """Convert a scene into `folder`, or find it there from an ingest that was killed.

    Args:
        source: the scene; it has a raster.
        checksum: `source_checksum` of the scene.
        conversion: `conversion_id` of the scene.
        project: gives bands, CRS, GSD and radiometry.
        folder: the project's staging folder.
        written: called when the COG is written; what it starts runs beside the measuring.

    Raises:
        BadDataError: the raster cannot be read, or its header breaks a critical rule; reasons are joined by "; ".
    """
    target = folder / content_id(source.id, checksum, conversion)
    if not (target / "scene.json").is_file():
        _convert(source, checksum, conversion, project, target, written)
    tree = json.loads((target / "scene.json").read_text(encoding="utf-8"))
    for name in ("grid", "source_grid"):
        tree[name] = Grid(**{**tree[name], "transform": Affine(*tree[name]["transform"])})
    tree["nodata"] = None if tree["nodata"] is None else float(tree["nodata"])
    return StagedScene(
        **{**tree, **{name: tuple(tree[name]) for name in ("statistics", "notes", "processing", "source_files")}},
        cog=target / "scene.tif",
    )


def _convert(  # noqa: PLR0917
    source: SceneSource,
    checksum: str,
    conversion: str,
    project: ProjectConfig,
    target: Path,
    written: Callable[[], None],
) -> None:
    assert source.raster is not None
    recipe = _recipe(source, project)
    grid = target_grid(recipe.grid, project.crs, project.gsd_m)
    row = expected(recipe, grid, project)
    if reasons := broken(scene_rules(project), row, critical=True):
        raise RefusedByRulesError(reasons, row)
    with replacing_directory(target) as temp, ThreadPoolExecutor(max_workers=1) as beside:
        cog = temp / "scene.tif"
        hashed: list[Future[str]] = []

        def now_measuring() -> None:
            hashed.append(beside.submit(sha256_of, cog))
            written()

        product = transcode(recipe, grid, cog, project.bands, project.radiometry, project.resampling, now_measuring)
        if not product.statistics.valid:
            raise BadDataError("has no valid pixel at all: everything is nodata or masked")
        record = {
            "source_name": source.raster.name,
            "source_files": [path.name for path in recipe.headers],
            "source_checksum": checksum,
            "conversion": conversion,
            "checksum": hashed[0].result(),
            "size_bytes": cog.stat().st_size,
        }
        write_json(temp / "scene.json", {**record, **_described(recipe, grid, product)})


def _recipe(source: SceneSource, project: ProjectConfig) -> Recipe:
    assert source.raster is not None
    if source.composition is None:
        return recipe_of_file(source.raster, project.bands, project.band_names)
    members = source.composition.choose(project.bands, project.band_names)
    return recipe_of_files(members, project.bands, source.composition.acquired)


def _described(recipe: Recipe, grid: Grid, product: Product) -> dict[str, Any]:
    statistics = product.statistics
    return {
        "grid": _plain(grid),
        "source_grid": _plain(recipe.grid),
        "dtype": product.dtype,
        "nodata": None if product.nodata is None else str(product.nodata),  # JSON has no NaN
        "acquired": recipe.acquired,
        "resampling": product.resampling,
        "processing": _processing(recipe, grid, product),
        "notes": list(recipe.notes),
        "nodata_fraction": statistics.nodata_fraction,
        "black_fraction": statistics.black_fraction,
        "infinite_pixels": statistics.infinite,
        "statistics": statistics.bands(),
    }


def _processing(recipe: Recipe, grid: Grid, product: Product) -> list[dict[str, Any]]:
    """Return the steps from the source's pixels to the scene's, in order."""
    if product.resampling is None:
        return list(product.steps)
    resample = {
        "step": "resample",
        "method": product.resampling,
        "from": [_place(header.grid) for header in recipe.headers.values()],
        "to": _place(grid),
    }
    return [resample, *product.steps]


def _place(grid: Grid) -> dict[str, Any]:
    return {"crs": grid.crs, "shape": [grid.height, grid.width], "transform": list(grid.transform)[:6]}


def _plain(grid: Grid) -> dict[str, Any]:
    return {"width": grid.width, "height": grid.height, "crs": grid.crs, "transform": list(grid.transform)[:6]}
