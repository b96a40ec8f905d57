"""The STAC Item of a prediction: what it shows, its files with checksums, and the chain it comes from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import mapping

from satseg.datasets.checksums import sha256_of
from satseg.inference.polygon_files import FORMATS
from satseg.inference.sources import SceneInput
from satseg.scenes.grid import Grid, footprint_wgs84, geometry_wgs84

ITEM_FILE = "item.json"
PROBABILITY_FILE = "probability.tif"
CLASSES_FILE = "classes.tif"
POLYGONS_FILE = FORMATS["geojson"].file
PREVIEW_FILE = "preview.png"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_RASTERS = {
    "probability": (PROBABILITY_FILE, _COG, "Probability of each class", ["data"]),
    "classes": (CLASSES_FILE, _COG, "Class of each pixel", ["data"]),
}
_PREVIEW = (PREVIEW_FILE, "image/png", "The scene with the polygons", ["thumbnail", "overview"])
_SHA256_MULTIHASH = "1220"  # the STAC file extension names the algorithm in the checksum
_FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_PROJECTION_EXTENSION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


class PredictionRecord(BaseModel):
    """What made a prediction and what came out; stored as `satseg:…` properties of its item."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    project: str
    model_version: str | None = Field(description="Number of the registered version; None for an unregistered run.")
    model: str = Field(description="Label of the model: `v3`, or the beginning of the run id.")
    run_id: str
    engine: str = Field("tf", description="What ran the model: TensorFlow, or an export with its checksum.")
    patch_set: str = Field(description="Patch set the model was trained on.")
    dataset_version: str = Field(description="Dataset version the model was trained on.")
    git_commit: str | None = Field(description="Commit of the training code.")
    scene_checksum: str
    source_checksum: str
    scene_path: str
    scene_dataset_version: str | None = Field(description="Dataset version the scene was read from; None for a file.")
    settings: str = Field(description="Content id of everything else that decides the result.")
    coordinates: str = Field(description="CRS of maps and polygons, or 'pixels'.")
    objects: int = 0
    area_m2: float | None = None


def same_work(folder: Path, record: PredictionRecord) -> PredictionRecord | None:
    """Return the record of a finished prediction in `folder` when doing it again would change nothing."""
    found = read_record(folder)
    if found is None:
        return None
    decided = ("run_id", "model", "scene_checksum", "settings")
    alike = all(getattr(found, name) == getattr(record, name) for name in decided)
    return found if alike and all((folder / file).is_file() for file in _files(folder)) else None


def _files(folder: Path) -> list[str]:
    """Return the files that the item of a folder names."""
    return [asset.href for asset in pystac.Item.from_file(str(folder / ITEM_FILE)).assets.values()]


def _assets(folder: Path) -> dict[str, tuple[str, str, str, list[str]]]:
    """Return file, media type, title and roles of each asset; `polygons` is the GeoJSON unless there is none."""
    polygons = {name: about for name, about in FORMATS.items() if (folder / about.file).is_file()}
    main = next(iter(polygons))
    named = {"polygons" if name == main else name: (*about, ["data"]) for name, about in polygons.items()}
    return _RASTERS | named | {"preview": _PREVIEW}


def read_record(folder: Path) -> PredictionRecord | None:
    """Read the record of a prediction folder; None when it holds no finished prediction."""
    try:
        properties = pystac.Item.from_file(str(folder / ITEM_FILE)).properties
        said = {name: f"satseg:{name}" for name in PredictionRecord.model_fields}
        values = {name: properties[key] for name, key in said.items() if key in properties}
        return PredictionRecord.model_validate(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError):
        return None


def build_item(folder: Path, scene: SceneInput, grid: Grid, record: PredictionRecord) -> dict[str, Any]:
    """Return the STAC Item of the files in `folder` as JSON; it has no geometry for a scene without a CRS."""
    now = datetime.now(UTC)
    bounds = footprint_wgs84(grid)
    properties: dict[str, Any] = {f"satseg:{name}": value for name, value in record.model_dump(mode="json").items()} | {
        "title": f"{record.project} in {scene.id} by model {record.model}",
        "created": pystac.utils.datetime_to_str(now),
        "proj:shape": [grid.height, grid.width],
        "proj:transform": list(grid.transform)[:6],
        "proj:code": grid.crs if grid.crs and grid.crs.startswith("EPSG:") else None,
    }
    if grid.crs and properties["proj:code"] is None:
        properties["proj:wkt2"] = grid.crs
    item = pystac.Item(
        id=f"{scene.id}-{record.model}",
        geometry=mapping(geometry_wgs84(grid)) if bounds else None,
        bbox=list(bounds) if bounds else None,
        datetime=pystac.utils.str_to_datetime(scene.acquired) if scene.acquired else now,
        properties=properties,
        stac_extensions=[_FILE_EXTENSION, _PROJECTION_EXTENSION],
    )
    for name, (file, media_type, title, roles) in _assets(folder).items():
        checksum = {
            "file:checksum": _SHA256_MULTIHASH + sha256_of(folder / file),
            "file:size": (folder / file).stat().st_size,
        }
        item.add_asset(
            name, pystac.Asset(f"./{file}", title, media_type=media_type, roles=roles, extra_fields=checksum)
        )
    item.add_link(pystac.Link("derived_from", scene.path.as_uri(), title=f"scene {scene.id}"))
    return dict(item.to_dict(include_self_link=False))
