"""The patch engine beside the usual scheme, beside the machine's limit, and on scenes that do not fit into memory.

    python benchmarks/patches.py [--part speed|training|memory|all] [--gpix 1 4] [--rounds 3] [--work DIR]

speed     100 MPix (ggaba_a.tif of $SHARED_DATA/kampala tiled 4×4, deflate, 512-px tiles, and its labels), size =
          stride = 512, every window kept. Side by side: this engine; a plain version of the usual scheme (whole image
          in memory, cv2.fillPoly, patchify, PNG by cv2.imwrite, six copies of image and mask per positive patch);
          and the limit: decoding the file with one thread and writing as many bytes as the engine does. Medians.
training  tf.data with augmentation, 256-px windows: shards against the same pipeline over PNG files.
memory    resident set of the whole process tree at its largest, mapped pages included, on generated scenes of 1 and
          4 gigapixels of which more than half of the windows are kept. Needs 18 GB of disk for 4.

The dataset version is handed to the stage directly: ingest, git and DVC are not measured. Exit code 1 when a bar is
missed.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measured_child
from bars import Bars
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
SIZE, COPIES = 512, 6
MIB = 2**20
# scenes of copies are all train: the same picture in two splits is a leak, and refused
ALL_TRAIN = ("patches.val_fraction=0", "patches.test_fraction=0")
EVERY_WINDOW = (
    "patches.size_px=512", "patches.stride_px=512", "patches.block_px=512", "patches.buffer_m=0",
    "patches.negatives_per_positive=1000", *ALL_TRAIN,
)  # fmt: skip
HALF_LABELLED = (
    "patches.size_px=512", "patches.stride_px=512", "patches.block_px=512", "patches.negatives_per_positive=0",
    *ALL_TRAIN,
)  # fmt: skip


# --- scenes ---------------------------------------------------------------------------------------------------


def build_scene(path: Path, height: int, width: int, labelled_share: float) -> None:
    """Tile ggaba_a.tif into a scene and its labels; each of its tiles is encoded once and written where it recurs."""
    import numpy as np
    import rasterio
    import shapely
    import tifffile

    from satseg.annotations.table import AnnotationTable, LabelledPolygon, write_table

    with rasterio.open(SHARED / "kampala" / "ggaba_a.tif") as source:
        image, crs, transform = np.moveaxis(source.read(), 0, -1), source.crs, source.transform
    outlines = json.loads((SHARED / "kampala" / "ggaba_a.json").read_text())["shapes"]
    roofs = [shapely.Polygon(shape["points"]) for shape in outlines]
    roofs = [roof for roof in roofs if roof.is_valid]  # as for the usual scheme: fillPoly knows rings only
    rows, cols = image.shape[0] // SIZE, image.shape[1] // SIZE
    tiles = [
        _encoded(image[row * SIZE : (row + 1) * SIZE, col * SIZE : (col + 1) * SIZE])
        for row in range(rows)
        for col in range(cols)
    ]
    places = ((row, col) for row in range(height // SIZE) for col in range(width // SIZE))
    tifffile.imwrite(
        path, (tiles[row % rows * cols + col % cols] for row, col in places), shape=(height, width, 3), dtype="uint8",
        tile=(SIZE, SIZE), compression="adobe_deflate", predictor=2, photometric="rgb", bigtiff=True, metadata=None,
    )  # fmt: skip
    with rasterio.open(path, "r+") as target:
        target.crs, target.transform = crs, transform
    polygons = []
    for top in range(0, height, image.shape[0]):
        for left in range(0, int(width * labelled_share), image.shape[1]):
            frame = shapely.box(left, top, min(left + image.shape[1], int(width * labelled_share)), height)
            for roof in roofs:
                placed = shapely.transform(roof, lambda xy, left=left, top=top: np.add(xy, (left, top)))
                if frame.contains(placed):
                    ground = shapely.transform(placed, lambda xy: np.stack(transform @ (xy[:, 0], xy[:, 1]), axis=1))
                    polygons.append(LabelledPolygon(ground, 1, "building"))
    write_table(AnnotationTable(tuple(polygons)), path.with_suffix(".geojson"), "EPSG:3857")


def _encoded(tile: Any) -> bytes:
    """Return a tile (512, 512, 3) uint8 as TIFF stores it: horizontal differences, deflated."""
    import zlib

    import numpy as np

    differences = tile.copy()
    differences[:, 1:] = np.diff(tile.astype(np.int16), axis=1).astype(np.uint8)
    return zlib.compress(differences.tobytes(), 6)


def record_of(path: Path) -> Any:
    """Describe the scene as the dataset would."""
    import numpy as np
    import rasterio
    from pyproj import Transformer

    from satseg.datasets.catalog import SceneRecord

    with rasterio.open(path) as dataset:
        height, width, transform = dataset.height, dataset.width, dataset.transform
    corners = transform @ (np.array([0, width, width, 0.0]), np.array([0, 0, height, height + 0.0]))
    lon, lat = Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform(*corners)
    return SceneRecord(
        id=path.stem, path=path, annotations=path.with_suffix(".geojson"), labelled=True, checksum="0",
        source_checksum="0", annotation_checksum="0", ingested_at=datetime.now(UTC), crs="EPSG:3857",
        gsd_m=abs(transform.a), width=width, height=height, bands=("red", "green", "blue"), dtype="uint8", nodata=None,
        transform=tuple(transform)[:6], footprint_wgs84=(lon.min(), lat.min(), lon.max(), lat.max()),
        item={"properties": {}},
    )  # fmt: skip


# --- what is measured, each in a process of its own -----------------------------------------------------------


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of a block to `into[name]`; from any thread."""
    start = time.perf_counter()
    yield
    into[name] = into.get(name, 0.0) + time.perf_counter() - start


def wrap(owner: Any, name: str, into: dict[str, float], label: str) -> None:
    """Time all calls of a function."""
    real = getattr(owner, name)

    def measured(*args: Any, **options: Any) -> Any:
        with timed(into, label):
            return real(*args, **options)

    setattr(owner, name, measured)


def run_engine(scene: Path, folder: Path, overrides: tuple[str, ...], profile: bool) -> dict[str, Any]:
    """Run the patch stage on one scene; with `profile` also time its parts, summed over threads."""
    import pandas
    import pyarrow.parquet  # noqa: F401 - imports are not measured

    from satseg.annotations.masks import PolygonIndex
    from satseg.config.project import parse_project
    from satseg.datasets.catalog import DatasetVersion
    from satseg.patches import extract, finalise, generate, plan
    from satseg.patches.cells import CellReader
    from satseg.patches.moments import Moments
    from satseg.patches.shards import ShardWriter
    from satseg.scenes.raster import SceneReader
    from satseg.stages import PatchSpec
    from satseg.storage.layout import Workspace

    record = record_of(scene)
    version = DatasetVersion("bench", "v1", "0" * 40, datetime.now(UTC), (record,), "")
    plan.open_version = lambda *args: version
    parts: dict[str, float] = {}
    inside: dict[str, float] = {}
    for name, label in (("make_plan", "plan"), ("extract_scene", "extract"), ("finalise", "finalise")):
        wrap(generate, name, parts, label)
    if profile:
        wrap(SceneReader, "read", inside, "decode")
        wrap(PolygonIndex, "rasterize", inside, "rasterise")
        wrap(PolygonIndex, "read", inside, "read labels")
        wrap(ShardWriter, "write", inside, "write")
        wrap(Moments, "of", inside, "statistics")
        wrap(extract._Extraction, "_survey", inside, "first pass (what is in each window)")
        wrap(finalise, "write_shard", inside, "flush to disk and link")
        wrap(finalise, "check_leaks", inside, "leak check")
        wrap(CellReader, "content", inside, "decode + rasterise + statistics + cut, in threads")
    project = parse_project("name: bench\nclasses: [building]\n", "benchmark", overrides)
    start = time.perf_counter()
    result = generate.run(PatchSpec(project=project), Workspace(folder))
    seconds = time.perf_counter() - start
    patch_set = Workspace(folder).patch_set("bench", result.patch_set)
    manifest = pandas.read_parquet(patch_set / "manifest.parquet")
    return {
        "seconds": seconds,
        "pixels": record.width * record.height,
        "bytes": sum(path.stat().st_size for path in patch_set.iterdir() if path.is_file()),
        "windows": len(manifest),
        "kept": int(manifest["kept"].sum()),
        "parts": parts,
        "inside": inside,
    }


def run_plain(scene: Path, folder: Path) -> dict[str, Any]:
    """Do what is usually done: everything in memory, PNG files, a file per copy."""
    import cv2
    import numpy as np
    import rasterio
    from patchify import patchify

    features = json.loads(scene.with_suffix(".geojson").read_text())["features"]
    start = time.perf_counter()
    with rasterio.open(scene) as dataset:
        image = np.moveaxis(dataset.read(), 0, -1)
        inverse = ~dataset.transform
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    for feature in features:
        ring = np.array(feature["geometry"]["coordinates"][0])
        cols, rows = inverse @ (ring[:, 0], ring[:, 1])
        cv2.fillPoly(mask, [np.stack([cols, rows], axis=1).round().astype(np.int32)], 1)
    images = patchify(image, (SIZE, SIZE, 3), step=SIZE)[:, :, 0]
    masks = patchify(mask, (SIZE, SIZE), step=SIZE)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    windows = 0
    for row in range(images.shape[0]):
        for col in range(images.shape[1]):
            copies = COPIES if masks[row, col].any() else 1
            for copy in range(copies):
                name = f"{row}_{col}_{copy}.png"
                cv2.imwrite(str(folder / "images" / name), images[row, col])
                cv2.imwrite(str(folder / "masks" / name), masks[row, col] * 255)
            windows += 1
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*.png"))
    return {"seconds": seconds, "pixels": mask.size, "bytes": size, "windows": windows, "kept": windows}


def run_limit(scene: Path, folder: Path, amount: int) -> dict[str, Any]:
    """Decode the file with one thread, tile row by tile row, and write `amount` bytes; nothing is flushed to disk."""
    import rasterio
    from rasterio.windows import Window

    folder.mkdir(parents=True)
    start = time.perf_counter()
    with (
        rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=128 * MIB),
        rasterio.open(scene) as dataset,
        (folder / "bytes").open("wb") as target,
    ):
        pieces = -(-dataset.height // SIZE)
        for number in range(pieces):
            rows = min(SIZE, dataset.height - number * SIZE)
            pixels = dataset.read(window=Window(0, number * SIZE, dataset.width, rows)).reshape(-1)
            left = amount * (number + 1) // pieces - amount * number // pieces
            while left > 0:
                left -= target.write(pixels[:left].data)
        pixels_read = dataset.width * dataset.height
    return {"seconds": time.perf_counter() - start, "pixels": pixels_read, "bytes": amount}


def run_training(scene: Path, folder: Path) -> dict[str, Any]:
    """Measure windows per second of tf.data, augmented, over shards and over PNG files of the same windows."""
    import cv2

    from satseg.config.training import TrainingConfig
    from satseg.models.keras.input_pipeline import WindowReader, training_batches
    from satseg.models.keras.runtime import plain_graph, tf
    from satseg.patches.patchset import open_patch_set
    from satseg.storage.layout import Workspace

    overrides = ("patches.size_px=256", "patches.stride_px=256", "patches.block_px=512", *ALL_TRAIN)
    run_engine(scene, folder / "ws", (*overrides, "patches.negatives_per_positive=1000"), profile=False)
    patch_set = open_patch_set(Workspace(folder / "ws"), "bench")
    windows = patch_set.windows("train")
    pngs = folder / "png"
    pngs.mkdir()
    for number, (shard, index) in enumerate(zip(windows["shard"], windows["index"], strict=True)):
        cv2.imwrite(str(pngs / f"{number}.image.png"), patch_set.images(shard)[index][..., ::-1])
        cv2.imwrite(str(pngs / f"{number}.mask.png"), patch_set.masks(shard)[index])

    class PngReader(WindowReader):
        """The same windows in the same order, each read from its two PNG files."""

        def dataset(self, order: Any) -> Any:
            def decode(number: Any) -> tuple[Any, Any]:
                stem = tf.strings.join([str(pngs) + "/", tf.strings.as_string(number)])
                image = tf.io.decode_png(tf.io.read_file(stem + ".image.png"), 3)
                mask = tf.io.decode_png(tf.io.read_file(stem + ".mask.png"), 1)
                return tf.cast(tf.ensure_shape(image, (256, 256, 3)), tf.float32), tf.ensure_shape(mask, (256, 256, 1))[
                    ..., 0
                ]

            places = tf.data.Dataset.from_tensor_slices(order)
            return places.map(plain_graph(decode), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    config, count = TrainingConfig(batch_size=8), 3000
    readers = {
        "shards": WindowReader(patch_set, windows),
        "png": PngReader(patch_set, windows),
        "memory": WindowReader(patch_set, windows, config.cache_mib),
    }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(5):
        for name, reader in readers.items():
            batches = iter(training_batches(reader, config, 0, count))
            next(batches)  # graphs are built
            start = time.perf_counter()
            done = sum(int(images.shape[0]) for images, _ in batches)
            rates[name].append(done / (time.perf_counter() - start))
    return {"windows": len(windows), "rates": rates}


# --- the parent: starts them, samples their memory, judges ----------------------------------------------------


def child(job: str, scene: Path, folder: Path, *, watched: bool = True, **options: Any) -> dict[str, Any]:
    """Run one measurement in a fresh process; see `measured_child.child`. What is timed is not watched."""
    os.sync()  # what the measurement before has written is not this one's business
    order = {"job": job, "scene": str(scene), "folder": str(folder / "out"), **options}
    return measured_child.child(__file__, order, folder, watched=watched)


def _child_main(order: dict[str, Any]) -> None:
    scene, folder = Path(order["scene"]), Path(order["folder"])
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "build": lambda: build_scene(scene, order["height"], order["width"], order["share"]) or {},
        "engine": lambda: run_engine(scene, folder, tuple(order["overrides"]), order.get("profile", False)),
        "plain": lambda: run_plain(scene, folder),
        "limit": lambda: run_limit(scene, folder, order["amount"]),
        "training": lambda: run_training(scene, folder),
    }
    before = time.process_time()
    result = jobs[order["job"]]()
    print(json.dumps({**result, "cpu": time.process_time() - before}))


def dense_scene(work: Path) -> Path:
    """Return the 100 MPix scene, built when it is not there."""
    path = work / "dense.tif"
    if not path.with_suffix(".geojson").exists():
        print("building the 100 MPix scene ...", file=sys.stderr)
        child("build", path, work / "job", height=8192, width=12288, share=1.0)
    return path


def speed(work: Path, bars: Bars, rounds: int) -> None:
    """Compare pixels per second and bytes."""
    scene = dense_scene(work)
    print("speed: memory ...", file=sys.stderr)
    plain = child("plain", scene, work / "job")
    engine = child("engine", scene, work / "job", overrides=EVERY_WINDOW)
    runs: dict[str, list[dict[str, Any]]] = {"plain": [], "engine": [], "limit": []}
    for number in range(rounds):
        print(f"speed: round {number + 1} of {rounds} ...", file=sys.stderr)
        runs["plain"].append(child("plain", scene, work / "job", watched=False))
        for _ in range(2):
            runs["engine"].append(child("engine", scene, work / "job", watched=False, overrides=EVERY_WINDOW))
            amount = runs["engine"][-1]["bytes"]
            runs["limit"].append(child("limit", scene, work / "job", watched=False, amount=amount))
    profiled = child("engine", scene, work / "job", watched=False, overrides=EVERY_WINDOW, profile=True)
    rate = {
        name: statistics.median(run["pixels"] / run["seconds"] / 1e6 for run in some) for name, some in runs.items()
    }
    bars.add(
        "usual scheme", f"{rate['plain']:.1f} MPix/s, {plain['bytes'] / 1e6:,.0f} MB, {plain['peak'] / MIB:,.0f} MiB"
    )
    bars.add("limit: decode + write", f"{rate['limit']:.1f} MPix/s")
    bars.add(
        "this engine", f"{rate['engine']:.1f} MPix/s, {engine['bytes'] / 1e6:,.0f} MB, {engine['peak'] / MIB:,.0f} MiB"
    )
    kept = f"{engine['kept']} and {plain['kept']} of {engine['windows']}"
    bars.add("windows kept, engine and usual scheme", kept, "all", engine["kept"] == plain["kept"] == engine["windows"])
    ratio = rate["engine"] / rate["plain"]
    bars.add("pixels/s against the usual scheme", f"{ratio:.1f} ×", "≥ 20 ×", ratio >= 20)
    share = engine["bytes"] / plain["bytes"]
    bars.add("bytes against the usual scheme", f"{share:.2f}", "≤ 0.50", share <= 0.5)
    cpu = {name: statistics.median(run["cpu"] for run in some) for name, some in runs.items()}
    bars.add(
        "  processor time, usual scheme and engine (with imports)", f"{cpu['plain']:.1f} s and {cpu['engine']:.1f} s"
    )
    part = rate["engine"] / rate["limit"]
    bars.add("pixels/s against the limit", f"{part:.0%}", "≥ 50%", part >= 0.5)
    timed = runs["engine"][0]
    for name, seconds in timed["parts"].items():
        bars.add(f"  of which {name}", f"{seconds:.2f} s of {timed['seconds']:.2f} s")
    for name, seconds in sorted(profiled["inside"].items(), key=lambda item: -item[1]):
        bars.add(f"  where the time goes: {name}", f"{seconds:.2f} s (profiled run, {profiled['seconds']:.2f} s)")


def training(work: Path, bars: Bars) -> None:
    """Compare what tf.data delivers."""
    print("training: patches per second of tf.data ...", file=sys.stderr)
    rates = child("training", dense_scene(work), work / "job")["rates"]
    medians = {name: statistics.median(values) for name, values in rates.items()}
    bars.add("tf.data over PNG files, augmented", f"{medians['png']:,.0f} patches/s")
    bars.add("tf.data over shards, augmented", f"{medians['shards']:,.0f} patches/s")
    bars.add("tf.data over shards kept in memory (training.cache_mib)", f"{medians['memory']:,.0f} patches/s")
    ratio = medians["shards"] / medians["png"]
    bars.add("shards against PNG files", f"{ratio:.1f} ×", "≥ 2 ×", ratio >= 2)


def memory(work: Path, bars: Bars, sizes: list[int]) -> None:
    """Measure peak memory on gigapixel scenes."""
    peaks = {}
    for gpix in sizes:
        scene = work / f"giga{gpix}.tif"
        height, width = (gpix * 16384, 65536) if gpix > 1 else (32768, 32768)
        print(f"memory: generating {gpix} GPix ...", file=sys.stderr)
        child("build", scene, work / "job", height=height, width=width, share=0.55)
        size = scene.stat().st_size
        print(f"memory: cutting {gpix} GPix ({size / 1e9:.1f} GB) ...", file=sys.stderr)
        run = child("engine", scene, work / "job", overrides=HALF_LABELLED)
        peaks[gpix] = run["peak"] / MIB
        share = run["kept"] / run["windows"]
        bars.add(
            f"{run['pixels'] / 1e9:.2f} GPix",
            f"{run['seconds']:.0f} s, {run['pixels'] / run['seconds'] / 1e6:.0f} MPix/s, {run['bytes'] / 1e9:.1f} GB",
        )
        bars.add("  windows kept", f"{run['kept']:,} of {run['windows']:,} ({share:.0%})", "≥ 50%", share >= 0.5)
        bars.add("  peak memory", f"{peaks[gpix]:.0f} MiB", "≤ 512 MiB", peaks[gpix] <= 512)
        for path in (scene, scene.with_suffix(".geojson")):
            path.unlink()
        shutil.rmtree(work / "job")
    if len(peaks) > 1:
        spread = max(peaks.values()) / min(peaks.values()) - 1
        bars.add("peak memory, largest against smallest", f"+{spread:.1%}", "≤ +10%", spread <= 0.1)


def main() -> int:
    """Run the parts asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["speed", "training", "memory", "all"], default="all")
    parser.add_argument("--gpix", type=int, nargs="+", default=[1, 4], help="sizes of the memory part")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the speed part")
    parser.add_argument("--work", type=Path, help="where scenes and patches go; default: a temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child_main(json.loads(given.child))
        return 0
    if not (SHARED / "kampala" / "ggaba_a.tif").is_file():
        print(f"{SHARED}/kampala is missing: set SHARED_DATA to the folder that holds it.", file=sys.stderr)
        return 1
    bars = Bars("Patch engine")
    with tempfile.TemporaryDirectory(prefix="satseg-patches-") as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if given.part in {"speed", "all"}:
            speed(work, bars, given.rounds)
        if given.part in {"training", "all"}:
            training(work, bars)
        if given.part in {"memory", "all"}:
            memory(work, bars, given.gpix)
        shutil.rmtree(work / "job", ignore_errors=True)
    Console(width=130).print(bars.table)
    return 0 if bars.met else 1


if __name__ == "__main__":
    sys.exit(main())
