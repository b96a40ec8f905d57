"""Labelled synthetic scenes: towns seen from above as GeoTIFF with LabelMe polygons of the roofs."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from shapely import box
from shapely.geometry.base import BaseGeometry

from satseg.datasets.demo_changes import Look
from satseg.datasets.demo_folder import OutFolder, out_folder
from satseg.datasets.demo_plan import Town
from satseg.datasets.demo_render import Picture, render
from satseg.datasets.demo_towns import plan_town
from satseg.errors import ConfigurationError
from satseg.progress import progress_bar
from satseg.storage.atomic import write_json

CRS = "EPSG:32636"
LABEL = "building"
MIN_SIZE_PX, MAX_SIZE_PX = 256, 4096
MAX_SIDE_M = 1000.0
_LEAST_LABEL_PX = 4.0  # smaller slivers at a scene's edge get no label
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class SceneSet:
    """What to draw; scene k depends on the seed and k alone, not on how many there are.

    Attributes:
        count: number of scenes.
        size_px: width and height of a scene.
        seed: chooses the towns.
        gsd_m: metres per pixel.
        prefix: scenes are called <prefix>_<k>; it also moves them elsewhere on the map.
        look: season, sensor and changes.
        labelled: whether to write labels.
    """

    count: int = 6
    size_px: int = 1024
    seed: int = 0
    gsd_m: float = 0.15
    prefix: str = "town"
    look: Look = field(default_factory=Look)
    labelled: bool = True

    def __post_init__(self) -> None:
        _within("--count", self.count, 1, 10_000)
        _within("--size", self.size_px, MIN_SIZE_PX, MAX_SIZE_PX)
        _within("--seed", self.seed, 0, 2**32 - 1)
        _within("--gsd", self.gsd_m, 0.05, 2.0)
        if self.size_px * self.gsd_m > MAX_SIDE_M:
            raise ConfigurationError(
                f"--size {self.size_px} with --gsd {self.gsd_m:g} makes a town of {self.size_px * self.gsd_m:.0f} m; "
                f"at most {MAX_SIDE_M:.0f} m. Make several smaller scenes with --count."
            )
        if not _NAME.fullmatch(self.prefix) or ".." in self.prefix:
            raise ConfigurationError(
                f"--prefix {self.prefix!r} does not suit file names: letters, digits, '.', '_' and '-' only."
            )

    @property
    def names(self) -> list[str]:
        """Names of the scenes, file stems."""
        return [f"{self.prefix}_{k}" for k in range(self.count)]

    def transform(self, k: int) -> Affine:
        """Return where scene k lies; the scenes of a set keep a distance of at least 50 m.

        The prefix chooses the easting, the seed moves the set north in steps of 2 km, so that sets of the same prefix
        and different seeds lie apart too.
        """
        draw = int.from_bytes(hashlib.sha256(self.prefix.encode()).digest()[:8], "big")
        pitch = 50 * (int(self.size_px * self.gsd_m / 50) + 2)
        columns = max(1, 16_000 // pitch)
        east = 220_000 + 20_000 * (draw % 28) + pitch * (k % columns)
        north = 3_200_000 + 2_000 * ((draw // 28 + self.seed) % 1_100) - pitch * (k // columns)
        return Affine(self.gsd_m, 0, east, 0, -self.gsd_m, north)


def write_scenes(out: Path, scenes: SceneSet, force: bool = False) -> list[str]:
    """Draw the scenes and write them to a folder: `<name>.tif` and then `<name>.json`; returns their names.

    Raises:
        ConfigurationError: the folder holds something else, and `force` is not given.
        LockHeldError: another process is writing there.
    """
    names = scenes.names
    expected = {f"{name}.tif" for name in names} | {f"{name}.json" for name in names if scenes.labelled}
    with out_folder(out, expected, force) as folder, progress_bar("Drawing scenes", len(names)) as advance:
        for k in folder.first_existing([f"{name}.tif" for name in names]):
            _write_scene(folder, scenes, k)
            advance()
    return names


def draw_scene(scenes: SceneSet, k: int) -> tuple[Town, Picture]:
    """Return plan and picture of scene k."""
    town = plan_town(scenes.seed, k, scenes.size_px * scenes.gsd_m)
    return town, render(town, scenes.size_px, scenes.gsd_m, (scenes.seed, k), scenes.look)


def labelme(town: Town, image: str, size_px: int, gsd_m: float) -> dict[str, Any]:
    """Return the roofs of a town as a LabelMe file: polygons in pixel coordinates, cut at the scene's edges."""
    shapes: list[dict[str, Any]] = [
        {
            "label": LABEL,
            "points": [[round(x, 2), round(y, 2)] for x, y in ring],
            "group_id": None,
            "shape_type": "polygon",
            "flags": {},
        }
        for building in town.buildings
        for ring in _rings(building.footprint(), size_px, gsd_m)
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": size_px,
        "imageWidth": size_px,
    }


def _rings(footprint: BaseGeometry, size_px: int, gsd_m: float) -> list[list[tuple[float, float]]]:
    side = size_px * gsd_m
    seen = footprint.intersection(box(0, 0, side, side))
    parts = [part for part in getattr(seen, "geoms", [seen]) if part.geom_type == "Polygon"]
    large = [part for part in parts if part.area > _LEAST_LABEL_PX * gsd_m**2]
    return [[(x / gsd_m, y / gsd_m) for x, y in part.exterior.coords[:-1]] for part in large]


def _write_scene(folder: OutFolder, scenes: SceneSet, k: int) -> None:
    name = scenes.names[k]
    town, picture = draw_scene(scenes, k)

    def write_tif(path: Path) -> None:
        profile = {
            "driver": "GTiff",
            "width": scenes.size_px,
            "height": scenes.size_px,
            "count": 3,
            "dtype": "uint8",
            "crs": CRS,
            "transform": scenes.transform(k),
            "tiled": True,
            "blockxsize": 256,
            "blockysize": 256,
            "compress": "deflate",
            "predictor": 2,
            "photometric": "RGB",
        }
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(picture.pixels.transpose(2, 0, 1))
            for band, colour in enumerate(("red", "green", "blue"), start=1):
                dataset.set_band_description(band, colour)

    folder.withdraw(f"{name}.json")
    folder.write(f"{name}.tif", write_tif)
    if scenes.labelled:
        labels = labelme(town, f"{name}.tif", scenes.size_px, scenes.gsd_m)
        folder.write(f"{name}.json", lambda path: write_json(path, labels))


def _within(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigurationError(f"{option} is {value:g}; it must lie between {least:g} and {most:g}.")
