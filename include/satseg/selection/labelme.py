"""Windows as LabelMe opens them: a picture, and JSON with what the model found there."""

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from PIL import Image

from satseg.config.project import ProjectConfig
from satseg.datasets.names import window_scene
from satseg.inference.components import find_groups
from satseg.inference.geojson import MapObject
from satseg.inference.ground import Ground
from satseg.inference.overlay import stretched
from satseg.inference.polygons import Identity, map_objects, polygon_rules
from satseg.inference.sources import ReadPlan, SceneInput
from satseg.models.interface import ModelDescription, class_ids
from satseg.scenes.grid import Grid
from satseg.scenes.radiometry import prepared_mark
from satseg.scenes.source import PREPARED_TAG
from satseg.selection.candidates import Place, Seen
from satseg.storage.atomic import write_text

CHECKED = "checked"
_VERSION = "5.5.0"  # of LabelMe, whose form this is


def window_name(place: Place) -> str:
    """Return the stem of a window's files, which is the id of the scene it becomes."""
    return window_scene(place.scene, place.row, place.col)


def write_window(  # noqa: PLR0917 - a window and all it belongs to
    folder: Path, seen: Seen, scene: SceneInput, plan: ReadPlan, project: ProjectConfig, description: ModelDescription
) -> int:
    """Write a window's GeoTIFF, its LabelMe file, and a PNG where LabelMe cannot show the GeoTIFF's bands.

    Returns:
        How many polygons are drawn in advance.
    """
    name = window_name(seen.place)
    _write_scene(folder / f"{name}.tif", seen, scene, plan, project)
    picture = f"{name}.tif"
    if seen.pixels.dtype != np.uint8 or seen.pixels.shape[-1] != 3:
        picture = f"{name}.png"
        shown = seen.pixels[..., :3] if seen.pixels.shape[-1] >= 3 else seen.pixels[..., :1]
        Image.fromarray(stretched(shown, seen.valid)).save(folder / picture)
    shapes = _shapes(seen, project, description)
    tree: dict[str, Any] = {
        "version": _VERSION,
        "flags": {CHECKED: False},
        "shapes": shapes,
        "imagePath": picture,
        "imageData": None,
        "imageHeight": seen.place.height,
        "imageWidth": seen.place.width,
    }
    write_text(folder / f"{name}.json", json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return len(shapes)


def is_checked(path: Path) -> bool:
    """Return whether an annotator has ticked the flag of a LabelMe file; False for one that cannot be read."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return bool(tree["flags"].get(CHECKED))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_scene(path: Path, seen: Seen, scene: SceneInput, plan: ReadPlan, project: ProjectConfig) -> None:
    """Write the window as a scene of its own, where it lies, with the values it has in the dataset."""
    height, width, bands = seen.pixels.shape
    profile: dict[str, Any] = {"driver": "GTiff", "height": height, "width": width, "count": bands}
    profile |= {"dtype": seen.pixels.dtype.name, "compress": "deflate", "interleave": "pixel"}
    if plan.grid.crs is not None:
        moved = plan.grid.transform @ Affine.translation(seen.place.col, seen.place.row)
        profile |= {"crs": plan.grid.crs, "transform": moved}
    if plan.header.nodata is not None:
        profile["nodata"] = plan.header.nodata
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "w", **profile) as target:
        target.write(seen.pixels.transpose(2, 0, 1))
        target.descriptions = project.bands
        if plan.header.nodata is None and not seen.valid.all():
            target.write_mask(seen.valid)
        tags = {"satseg_scene": scene.id, PREPARED_TAG: prepared_mark(project.radiometry)}
        if scene.acquired:
            tags["TIFFTAG_DATETIME"] = f"{datetime.fromisoformat(scene.acquired):%Y:%m:%d %H:%M:%S}"
        target.update_tags(**tags)


def _shapes(seen: Seen, project: ProjectConfig, description: ModelDescription) -> list[dict[str, Any]]:
    """Return the model's objects as LabelMe polygons in the window's pixels, large ones first."""
    ids = np.where(seen.valid, class_ids(seen.probabilities, project.inference.threshold), 0).astype(np.uint8)
    of_classes = seen.probabilities[..., -len(description.classes) :]
    ground = Ground(Grid(seen.place.width, seen.place.height, Affine.identity(), None))
    rules = polygon_rules(project.inference, ground, description.gsd_m, description.classes)
    groups = find_groups([(0, ids, of_classes)], rules.least_pixels, grouped=len(description.classes) > 1)
    identity = Identity(seen.place.scene, "", description.classes)
    objects = list(map_objects(groups, ground, rules, identity))
    objects.sort(key=lambda found: -found.properties["area_px"])  # LabelMe lets the later of two win
    return [_labelme_shape(found) for found in objects]


def _labelme_shape(found: MapObject) -> dict[str, Any]:
    """Return a polygon without its holes, which LabelMe does not know."""
    ring = list(found.polygon.exterior.coords)[:-1]
    return {
        "label": found.properties["class"],
        "points": [[_tenth(x), _tenth(y)] for x, y in ring],
        "group_id": None,
        "description": f"confidence {found.properties['confidence']:.2f}",
        "shape_type": "polygon",
        "flags": {},
    }


def _tenth(value: float) -> float:
    return math.floor(value * 10 + 0.5) / 10
