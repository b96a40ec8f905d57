"""One scene on its way into the dataset: read, converted and measured in the staging folder.

A converted scene is kept under the hash of what went in, so that an ingest that was killed does not convert it twice.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affine import Affine

from satseg.config.project import ProjectConfig, content_id
from satseg.datasets.checksums import sha256_of
from satseg.datasets.discovery import SceneSource
from satseg.datasets.rules import broken, scene_rules
from satseg.errors import BadDataError
from satseg.scenes.grid import Grid, gsd_of, target_grid
from satseg.scenes.source import SourceHeader, read_header
from satseg.scenes.transcode import PixelStatistics, needs_mask, resampling_for, transcode
from satseg.storage.atomic import replacing_directory, write_json

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
    source_checksum: str
    conversion: str
    grid: Grid
    source_grid: Grid
    dtype: str
    nodata: float | None
    acquired: str | None
    resampling: str | None
    nodata_fraction: float
    black_fraction: float
    infinite_pixels: int
    statistics: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


def conversion_id(source: SceneSource, project: ProjectConfig) -> str:
    """Return the hash of everything besides the raster's bytes that decides about the COG's."""
    sidecars = [(path.name, sha256_of(path)) for path in source.sidecars]
    return content_id(CONVERSION_VERSION, project.bands, project.crs, project.gsd_m, sidecars)


def expected(header: SourceHeader, grid: Grid) -> dict[str, Any]:
    """Return the columns of the scene table that are known before the pixels are read onto `grid`."""
    return {
        "band_count": len(header.bands),
        "dtype": header.dtype,
        "palette": header.palette,
        "width": grid.width,
        "height": grid.height,
    }


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
    }


def stage_scene(
    source: SceneSource, checksum: str, conversion: str, project: ProjectConfig, folder: Path
) -> StagedScene:
    """Convert a scene into `folder`, or find it there from an ingest that was killed.

    Args:
        source: the scene; it has a raster.
        checksum: SHA-256 of the raster.
        conversion: `conversion_id` of the scene.
        project: gives bands, CRS and GSD.
        folder: the project's staging folder.

    Raises:
        BadDataError: the raster cannot be read, or its header breaks a critical rule; reasons are joined by "; ".
    """
    target = folder / content_id(source.id, checksum, conversion)
    if not (target / "scene.json").is_file():
        _convert(source, checksum, conversion, project, target)
    tree = json.loads((target / "scene.json").read_text(encoding="utf-8"))
    for name in ("grid", "source_grid"):
        tree[name] = Grid(**{**tree[name], "transform": Affine(*tree[name]["transform"])})
    tree["nodata"] = None if tree["nodata"] is None else float(tree["nodata"])
    return StagedScene(
        **{**tree, "statistics": tuple(tree["statistics"]), "notes": tuple(tree["notes"])}, cog=target / "scene.tif"
    )


def _convert(source: SceneSource, checksum: str, conversion: str, project: ProjectConfig, target: Path) -> None:
    assert source.raster is not None
    header = read_header(source.raster, len(project.bands))
    grid = target_grid(header.grid, project.crs, project.gsd_m)
    row = expected(header, grid)
    if reasons := broken(scene_rules(project), row, critical=True):
        raise RefusedByRulesError(reasons, row)
    with replacing_directory(target) as temp:
        cog = temp / "scene.tif"
        statistics = transcode(source.raster, header, grid, cog, project.bands)
        if not statistics.valid:
            raise BadDataError("has no valid pixel at all: everything is nodata or masked")
        record = {
            "source_name": source.raster.name,
            "source_checksum": checksum,
            "conversion": conversion,
            "checksum": sha256_of(cog),
            "size_bytes": cog.stat().st_size,
        }
        write_json(temp / "scene.json", {**record, **_described(header, grid), **_summed(statistics)})


def _described(header: SourceHeader, grid: Grid) -> dict[str, Any]:
    nodata = None if needs_mask(header, grid) else header.nodata
    return {
        "grid": _plain(grid),
        "source_grid": _plain(header.grid),
        "dtype": header.dtype,
        "nodata": None if nodata is None else str(nodata),  # JSON has no NaN
        "acquired": header.acquired,
        "resampling": None if grid is header.grid else resampling_for(header.grid, grid).name,
        "notes": list(header.notes),
    }


def _summed(statistics: PixelStatistics) -> dict[str, Any]:
    return {
        "nodata_fraction": statistics.nodata_fraction,
        "black_fraction": statistics.black_fraction,
        "infinite_pixels": statistics.infinite,
        "statistics": statistics.bands(),
    }


def _plain(grid: Grid) -> dict[str, Any]:
    return {"width": grid.width, "height": grid.height, "crs": grid.crs, "transform": list(grid.transform)[:6]}
