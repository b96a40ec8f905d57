"""Parts of the Kampala scenes for benchmarks that train: cut them out, light them otherwise, score a map of them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.windows import Window
from shapely.geometry import box, shape
from shapely.ops import transform as project_geometry

ROOT = Path(__file__).resolve().parents[1]
GSD_M = 0.07464553543474244  # of the scenes
HALVED_GSD_M = 2 * GSD_M


@dataclass(frozen=True)
class Part:
    """A rectangle of a scene, in its pixels; None reaches to the edge."""

    scene: str
    first_col: int = 0
    end_col: int | None = None
    first_row: int = 0
    end_row: int | None = None

    @property
    def name(self) -> str:
        """File stem."""
        return f"{self.scene}_{self.first_row}_{self.first_col}"


@dataclass(frozen=True)
class Light:
    """Another light: a gain for each band, then haze that brings pixels towards white."""

    gains: tuple[float, ...] = (1.0, 1.0, 1.0)
    haze: float = 0.0

    def on(self, pixels: np.ndarray) -> np.ndarray:
        """Return (C, H, W) uint8 in this light."""
        lit = pixels * np.array(self.gains)[:, None, None]
        return np.clip(lit * (1 - self.haze) + 255 * self.haze, 0, 255).round().astype(np.uint8)


def cut(data: Path, parts: Sequence[Part], folder: Path, light: Light = Light()) -> list[Path]:
    """Write each part as a GeoTIFF and its polygons, clipped to it, as `<stem>.geojson`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for part in parts:
        with rasterio.open(data / f"{part.scene}.tif") as source:
            end_col, end_row = part.end_col or source.width, part.end_row or source.height
            window = Window(part.first_col, part.first_row, end_col - part.first_col, end_row - part.first_row)
            pixels = source.read(window=window)
            profile = source.profile | {
                "width": int(window.width),
                "height": int(window.height),
                "transform": source.window_transform(window),
            }
        file = folder / f"{part.name}.tif"
        with rasterio.open(file, "w", **profile) as target:
            target.write(light.on(pixels))
        _write_labels(data, part.scene, file)
        files.append(file)
    return files


def _polygons(data: Path, scene: str, crs: str) -> list:
    features = json.loads((data / "labels.geojson").read_text())["features"]
    to_scene = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform
    return [
        project_geometry(to_scene, shape(feature["geometry"])).buffer(0)
        for feature in features
        if feature["properties"]["scene"] == scene
    ]


def _write_labels(data: Path, scene: str, file: Path) -> None:
    with rasterio.open(file) as opened:
        crs, frame = opened.crs.to_string(), box(*opened.bounds)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    clipped = [polygon.intersection(frame) for polygon in _polygons(data, scene, crs) if polygon.intersects(frame)]
    features = [
        {
            "type": "Feature",
            "geometry": project_geometry(to_degrees, polygon).__geo_interface__,
            "properties": {"class": "building"},
        }
        for polygon in clipped
        if polygon.area > 0
    ]
    file.with_suffix(".geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@dataclass(frozen=True)
class Score:
    """IoU of a map and of the map that says roof everywhere."""

    iou: float
    all_positive: float


def score(data: Path, scene: str, classes: Path) -> Score:
    """Compare a class map (GeoTIFF, 1 = roof) with the scene's polygons, burnt into the map's own grid."""
    with rasterio.open(classes) as opened:
        predicted = opened.read(1) == 1
        shapes = _polygons(data, scene, opened.crs.to_string())
        truth = rasterize(shapes, out_shape=predicted.shape, transform=opened.transform, dtype="uint8") == 1
    return Score(float((predicted & truth).sum() / max(1, (predicted | truth).sum())), float(truth.mean()))


class Satseg:
    """Runs `satseg` in one workspace and returns results."""

    def __init__(self, workspace: Path, project_file: Path) -> None:
        self.workspace = workspace
        self.project_file = project_file

    def __call__(self, *words: str) -> dict:
        """Run one command; its progress goes to stderr.

        Raises:
            SystemExit: the command failed.
        """
        result = self.workspace / "result.json"
        result.unlink(missing_ok=True)
        self.workspace.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "satseg", *words, "--project", str(self.project_file), "--result", str(result)]
        environment = os.environ | {"SATSEG_WORKSPACE": str(self.workspace)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"satseg {' '.join(words)} ended with exit code {done.returncode}")
        return json.loads(result.read_text())

    def predict(self, run_id: str, scene: Path, settings: Sequence[str] = ()) -> Path:
        """Return the class map of a scene by a run's model."""
        words = [word for setting in settings for word in ("--set", setting)]
        return Path(self("predict", str(scene), "--model", run_id, *words)["predictions"][0]["classes"])


def scenes_folder() -> Path:
    """Return the folder of the Kampala scenes.

    Raises:
        SystemExit: it is not there.
    """
    folder = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")) / "kampala"
    if not (folder / "labels.geojson").is_file():
        sys.exit(f"{folder}: no Kampala scenes there. Set SHARED_DATA to the folder that holds kampala/.")
    return folder
