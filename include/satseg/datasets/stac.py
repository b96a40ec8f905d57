"""STAC: an Item per scene and the Collection of a project's dataset."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pystac
from pystac.extensions.eo import Band, EOExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.label import LabelClasses, LabelCount, LabelExtension, LabelOverview, LabelType
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension, Statistics
from shapely.geometry import mapping

from satseg.annotations.table import AnnotationTable
from satseg.config.project import ProjectConfig
from satseg.datasets.staging import StagedScene
from satseg.scenes.grid import FULL_TURN, Grid, footprint_wgs84, geometry_wgs84, gsd_of, mercator_note

_COMMON_NAMES = {
    *("coastal", "blue", "green", "green05", "red", "yellow", "pan", "rededge", "rededge071", "rededge075"),
    *("rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"),
}
_SHA256 = "1220"  # multihash: SHA-256, 32 bytes
_LABEL_SCHEMA = "/label/"


def scene_item(scene: str, staged: StagedScene, project: ProjectConfig, ingested_at: datetime) -> dict[str, Any]:
    """Return the STAC item of a scene without its annotations.

    The item's datetime is the time of acquisition where the source says it, otherwise the time of ingest. `geometry`
    is null for a scene in pixel space.
    """
    bounds = footprint_wgs84(staged.grid)
    taken = _acquired(staged.acquired)
    item = pystac.Item(
        id=scene,
        geometry=None if bounds is None else _geometry(staged.grid),
        bbox=None if bounds is None else list(bounds),
        datetime=taken or ingested_at,
        properties=_properties(staged, project, ingested_at, taken is not None),
        collection=project.name,
    )
    _add_projection(item, staged, bounds is not None)
    asset = pystac.Asset(href=f"../scenes/{scene}.tif", title="Scene", media_type=pystac.MediaType.COG, roles=["data"])
    item.add_asset("scene", asset)
    FileExtension.ext(asset, add_if_missing=True).apply(checksum=_SHA256 + staged.checksum, size=staged.size_bytes)
    EOExtension.ext(asset, add_if_missing=True).bands = [
        Band.create(name=name, common_name=name if name in _COMMON_NAMES else None) for name in project.bands
    ]
    RasterExtension.ext(asset, add_if_missing=True).bands = _raster_bands(staged)
    for relation in ("root", "parent", "collection"):
        item.add_link(pystac.Link(relation, "../collection.json", media_type=pystac.MediaType.JSON))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def unread_time(staged: StagedScene) -> list[str]:
    """Return a warning where a source says when it was taken and nobody can read it."""
    said = (staged.acquired or "").strip()
    if not said or _acquired(said) is not None:
        return []
    return [
        f"its time of acquisition '{said[:40]}' is no date, so the time of the ingest stands in its place; write it "
        "like 2026-05-04T10:20:00Z"
    ]


def annotated(
    item: dict[str, Any],
    table: AnnotationTable | None,
    annotations: tuple[str, int] | None,
    label_source: str | None,
    project: ProjectConfig,
) -> dict[str, Any]:
    """Return a copy of an item that describes the given annotations and no others.

    Args:
        item: a scene's item.
        table: its annotations; None = unlabelled.
        annotations: SHA-256 and size in bytes of the table's file.
        label_source: "stem" for a label file of the scene's own, "folder" for a shared one.
        project: gives the classes.
    """
    bare = copy.deepcopy(item)
    properties = {key: value for key, value in bare["properties"].items() if not key.startswith("label:")}
    properties |= {
        "satseg:labelled": table is not None,
        "satseg:annotation_checksum": annotations[0] if annotations else None,
        "satseg:polygons": len(table) if table is not None else None,
        "satseg:label_source": label_source,
    }
    bare["properties"] = properties
    bare["assets"].pop("annotations", None)
    bare["stac_extensions"] = [uri for uri in bare["stac_extensions"] if _LABEL_SCHEMA not in uri]
    if table is None or annotations is None:
        return bare
    labelled = pystac.Item.from_dict(bare, preserve_dict=False)
    asset = pystac.Asset(
        href=f"../annotations/{item['id']}.geojson",
        title="Annotations",
        media_type=pystac.MediaType.GEOJSON,
        roles=["labels"],
    )
    labelled.add_asset("annotations", asset)
    FileExtension.ext(asset, add_if_missing=True).apply(checksum=_SHA256 + annotations[0], size=annotations[1])
    counts = [LabelCount.create(name, sum(p.class_name == name for p in table)) for name in project.classes]
    LabelExtension.ext(labelled, add_if_missing=True).apply(
        label_description=f"Polygons of: {', '.join(project.classes)}",
        label_type=LabelType.VECTOR,
        label_properties=["class"],
        label_classes=[LabelClasses.create(list(project.classes), "class")],
        label_tasks=["segmentation"],
        label_overviews=[LabelOverview.create("class", counts=counts)],
    )
    return labelled.to_dict(include_self_link=False, transform_hrefs=False)


def collection(project: ProjectConfig, items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the STAC collection of a project's items, of which there is at least one."""
    extent = _extent([item["bbox"] for item in items.values() if item.get("bbox")])
    times: list[datetime] = sorted(datetime.fromisoformat(item["properties"]["datetime"]) for item in items.values())
    found = pystac.Collection(
        id=project.name,
        title=project.name,
        description=project.description or f"Scenes and annotations of {project.name}.",
        license="other",
        extent=pystac.Extent(
            pystac.SpatialExtent([extent]),
            pystac.TemporalExtent([[times[0], times[-1]]]),
        ),
        extra_fields={"satseg:classes": list(project.classes), "satseg:bands": list(project.bands)},
    )
    for scene in sorted(items):
        found.add_link(pystac.Link("item", f"./items/{scene}.json", media_type=pystac.MediaType.GEOJSON))
    found.add_link(pystac.Link("root", "./collection.json", media_type=pystac.MediaType.JSON))
    return found.to_dict(include_self_link=False, transform_hrefs=False)


def _properties(staged: StagedScene, project: ProjectConfig, ingested_at: datetime, dated: bool) -> dict[str, Any]:
    gsd = gsd_of(staged.grid)
    gsd = None if gsd is None else round(gsd, 9)
    source = staged.source_grid
    properties = {
        "satseg:checksum": staged.checksum,
        "satseg:conversion": staged.conversion,
        "satseg:ingested_at": ingested_at.isoformat(),
        "satseg:datetime_is": "acquisition" if dated else "ingest",
        "satseg:crs": staged.grid.crs,
        "satseg:gsd_m": gsd,
        "satseg:gsd_note": mercator_note(staged.grid),
        "satseg:bands": list(project.bands),
        "satseg:dtype": staged.dtype,
        "satseg:nodata": _plain(staged.nodata),
        "satseg:nodata_fraction": staged.nodata_fraction,
        "satseg:resampling": staged.resampling,
        "satseg:processing": list(staged.processing),
        "satseg:notes": list(staged.notes),
        "satseg:source": {
            "name": staged.source_name,
            "files": list(staged.source_files),
            "checksum": staged.source_checksum,
            "width": source.width,
            "height": source.height,
            "crs": source.crs,
            "transform": list(source.transform)[:6],
        },
    }
    return properties if gsd is None else {"gsd": gsd, **properties}


def _add_projection(item: pystac.Item, staged: StagedScene, placed: bool) -> None:
    grid, crs = staged.grid, staged.grid.crs
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    by_code = crs is not None and crs.startswith("EPSG:")
    projection.apply(
        code=crs if by_code else None,
        wkt2=crs if crs is not None and not by_code else None,
        shape=[grid.height, grid.width],
        transform=list(grid.transform)[:6],
        bbox=list(grid.bounds) if placed else None,
    )


def _raster_bands(staged: StagedScene) -> list[RasterBand]:
    gsd = gsd_of(staged.grid)
    return [
        RasterBand.create(
            nodata=_plain(staged.nodata),  # type: ignore[arg-type]
            data_type=DataType(staged.dtype),
            spatial_resolution=None if gsd is None else round(gsd, 9),
            statistics=Statistics.create(
                minimum=band["minimum"],
                maximum=band["maximum"],
                mean=band["mean"],
                stddev=band["stddev"],
                valid_percent=100 * (1 - staged.nodata_fraction),
            ),
        )
        for band in staged.statistics
    ]


def _plain(nodata: float | None) -> float | str | None:
    # JSON has no NaN
    return "nan" if nodata is not None and nodata != nodata else nodata  # noqa: PLR0124 - NaN is not itself


def _acquired(text: str | None) -> datetime | None:
    plain = (text or "").strip()
    try:
        found = datetime.strptime(plain, "%Y:%m:%d %H:%M:%S")  # as in TIFF
    except ValueError:
        try:
            found = datetime.fromisoformat(plain)
        except ValueError:
            return None
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:  # in the year 1 or 9999, beyond what UTC has
        return None


def _geometry(grid: Grid) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(mapping(geometry_wgs84(grid))))  # lists, as in an item that was read
    return found


def _extent(boxes: list[list[float]]) -> list[float]:
    """Return the box around boxes; in one that lies across the antimeridian west is larger than east."""
    if not boxes:
        return [-180.0, -90.0, 180.0, 90.0]
    wests, souths, easts, norths = (list(column) for column in zip(*boxes, strict=True))
    if any(west > east for west, east in zip(wests, easts, strict=True)):
        easts = [east + FULL_TURN if east < 0 else east for east in easts]
        wests = [west + FULL_TURN if west < 0 else west for west in wests]
    west, east = min(wests), max(easts)
    if any(a > b for a, b in zip(wests, easts, strict=True)) or east - west >= FULL_TURN:
        west, east = -180.0, 180.0
    return [west, min(souths), east - FULL_TURN if east > 180 else east, max(norths)]
