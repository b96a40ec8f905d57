"""Labels at size: time grows with the number of polygons, not with its square; a mask of 1 GPix in bounded memory.

    python benchmarks/annotations.py [--folder DIR]

Polygons: 25,000 and 100,000 buildings in EPSG:4326 as GeoPackage and GeoJSON, onto a scene of 40,000 x 40,000 px in
UTM, read, fitted, and burnt whole in windows of 512 px; then onto 64 scenes that share the file. Mask: 32,768 x 32,768
px with about 260,000 buildings, vectorised in a process of its own; pixels burnt again are compared with the file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyogrio
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from satseg.annotations.fitting import fit_labels
from satseg.annotations.labels import SceneFrame
from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.annotations.reading import read_labels
from satseg.config.data import AnnotationConfig
from satseg.scenes.grid import Grid

SIDE = 40_000
SCENE = Grid(SIDE, SIDE, Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000), "EPSG:32632")
FEW, MANY = 25_000, 100_000
MASK_SIDE = 32_768
MOST_RATIO = 5.5  # four times as many polygons
MOST_MIB = 512
CLASSES = ("building",)


def buildings(count: int) -> np.ndarray:
    """Return `count` turned rectangles with holes on a lattice over the scene, in degrees."""
    rng = np.random.default_rng(0)
    per_row = int(np.ceil(count**0.5))
    step = SIDE * 0.5 / per_row
    number = np.arange(count)
    x = 500_000 + (number % per_row + 0.5) * step
    y = 5_600_000 - (number // per_row + 0.5) * step
    angle = rng.random(count) * np.pi
    corners = np.array([[-1, -0.6], [1, -0.6], [1, 0.6], [-1, 0.6], [-1, -0.6]]) * 8
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    rings = np.einsum("nij,kj->nki", turn, corners) + np.stack([x, y], axis=1)[:, None]
    to_degrees = pyproj.Transformer.from_crs(SCENE.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(rings[..., 0], rings[..., 1])
    return shapely.polygons(np.stack([lon, lat], axis=-1))


def write_labels(areas: np.ndarray, path: Path) -> None:
    """Write a GeoPackage or GeoJSON."""
    if path.suffix == ".gpkg":
        names = [np.full(len(areas), "building", dtype=object)]
        pyogrio.raw.write(
            path, shapely.to_wkb(areas), names, ["class"], driver="GPKG", geometry_type="Polygon", crs="EPSG:4326"
        )
        return
    features = [
        {"type": "Feature", "properties": {"class": "building"}, "geometry": json.loads(text)}
        for text in shapely.to_geojson(areas)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def timed(action: Callable[[], object]) -> tuple[float, object]:
    """Return seconds of processor time, which other users of the machine disturb least, and the result."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def onto_one_scene(path: Path, count: int) -> tuple[float, float, float]:
    """Return seconds to read, to fit, and to burn all windows."""
    frame = SceneFrame(("a.tif",), SCENE, (SCENE,))
    read_s, labels = timed(lambda: read_labels(path, AnnotationConfig(), CLASSES))
    fit_s, (table, _) = timed(lambda: fit_labels(labels, frame, CLASSES))
    assert len(table) == count

    def burn() -> None:
        index = PolygonIndex(table)
        for row in range(0, SIDE, 512):
            for col in range(0, SIDE, 512):
                index.rasterize(window_transform(SCENE.transform, row, col), 512, 512)

    return read_s, fit_s, timed(burn)[0]


def onto_many_scenes(path: Path, count: int) -> float:
    """Return seconds to fit the file's labels onto 64 scenes that together are the large one."""
    labels = read_labels(path, AnnotationConfig(), CLASSES)
    side = SIDE // 8

    def fit() -> int:
        found: set[int] = set()
        for row in range(0, SIDE, side):
            for col in range(0, SIDE, side):
                grid = Grid(side, side, window_transform(SCENE.transform, row, col), SCENE.crs)
                frame = SceneFrame(("a.tif",), grid, (grid,), own_file=False)
                found |= fit_labels(labels, frame, CLASSES, shared=True)[1].used
        return len(found)

    seconds, used = timed(fit)
    assert used == count
    return seconds


def write_mask(path: Path) -> None:
    """Write a tiled mask of 1 GPix with buildings of many shapes."""
    profile = {"driver": "GTiff", "width": MASK_SIDE, "height": MASK_SIDE, "count": 1, "dtype": "uint8"}
    grid = Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)
    rng = np.random.default_rng(1)
    with rasterio.open(
        path,
        "w",
        **profile,
        crs="EPSG:32632",
        transform=grid,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
    ) as file:
        for row in range(0, MASK_SIDE, 512):
            strip = np.zeros((512, MASK_SIDE), dtype=np.uint8)
            for _ in range(4096):
                y, x = rng.integers(0, 512), rng.integers(0, MASK_SIDE)
                height, width = rng.integers(8, 50, 2)
                strip[y : y + height, x : x + width] = 1
                strip[y + height // 2 :, x : x + width // 3][: height // 4] = 0
            file.write(strip, 1, window=Window(0, row, MASK_SIDE, 512))


VECTORISE = """
import resource, sys, time
from pathlib import Path
from affine import Affine
from satseg.annotations.fitting import fit_labels
from satseg.annotations.labels import SceneFrame
from satseg.annotations.reading import read_labels
from satseg.annotations.table import write_table
from satseg.config.data import AnnotationConfig
from satseg.scenes.grid import Grid
grid = Grid({side}, {side}, Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000), "EPSG:32632")
frame = SceneFrame(("a.tif",), grid, (grid,))
labels = read_labels(Path({path!r}), AnnotationConfig(), ("building",)).for_scene(frame)
table, _ = fit_labels(labels, frame, ("building",), shared=True)
write_table(table, Path({out!r}), grid.crs)
print(len(table))
"""


def vectorise(mask: Path, out: Path) -> tuple[float, float, int]:
    """Vectorise a mask in a process of its own; returns seconds, peak MiB of resident memory, polygons."""
    start = time.monotonic()
    code = VECTORISE.format(side=MASK_SIDE, path=str(mask), out=str(out))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"vectorising failed with exit code {process.returncode}")
    return time.monotonic() - start, peak / 2**20, int(output)


def differing_pixels(mask: Path, table: Path) -> int:
    """Burn the table again, all of it, and count the pixels that are not the mask's."""
    index, wrong = PolygonIndex.read(table), 0
    with rasterio.open(mask) as file:
        for row in range(0, MASK_SIDE, 1024):
            for col in range(0, MASK_SIDE, 4096):
                burnt = index.rasterize(window_transform(file.transform, row, col), 1024, 4096)
                wrong += int((burnt != file.read(1, window=Window(col, row, 4096, 1024))).sum())
    return wrong


def main() -> int:
    """Measure, print, and say by the exit code whether all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for the files made; default: a temporary one")
    folder = parser.parse_args().folder
    table = Table("what", f"{FEW:,}", f"{MANY:,}", "ratio", "bar", "met")
    met = True

    def judge(what: str, few: float, many: float) -> None:
        nonlocal met
        ratio = many / max(few, 0.02)
        met &= ratio <= MOST_RATIO
        verdict = "yes" if ratio <= MOST_RATIO else "NO"
        table.add_row(what, f"{few:.2f} s", f"{many:.2f} s", f"{ratio:.1f}", f"≤ {MOST_RATIO}", verdict)

    with tempfile.TemporaryDirectory(dir=folder) as temp:
        for suffix in (".gpkg", ".geojson"):
            figures = {}
            for count in (FEW, MANY):
                path = Path(temp) / f"labels_{count}{suffix}"
                write_labels(buildings(count), path)
                figures[count] = (*onto_one_scene(path, count), onto_many_scenes(path, count))
            steps = ("read", "fit onto one scene", "burn 6,241 windows", "fit onto 64 scenes")
            for step, few, many in zip(steps, figures[FEW], figures[MANY], strict=True):
                judge(f"{suffix[1:]}: {step}", few, many)
        mask, out = Path(temp) / "mask.tif", Path(temp) / "table.geojson"
        write_mask(mask)
        seconds, peak, polygons = vectorise(mask, out)
        wrong = differing_pixels(mask, out)
    met &= peak <= MOST_MIB and wrong == 0
    row = f"mask of 1 GPix: {polygons:,} polygons in {seconds:.0f} s, peak MiB"
    table.add_row(row, "", f"{peak:.0f}", "", f"≤ {MOST_MIB}", "yes" if peak <= MOST_MIB else "NO")
    table.add_row("pixels that differ when burnt again", "", str(wrong), "", "= 0", "yes" if wrong == 0 else "NO")
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
