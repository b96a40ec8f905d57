"""`satseg predict` beside the bare model, beside a loop over patches, and on scenes that do not fit into memory.

    python benchmarks/inference.py [--part speed|memory|all] [--mpix 100] [--gpix 0.1 1 4] [--workspace DIR]

speed   A scene of `--mpix` (ggaba_a.tif of $SHARED_DATA/kampala at the model's 15 cm, tiled; a COG as ingest makes it).
        For TensorFlow and for each export that passed its parity, each in a process of its own and in turn:
        the bare engine on resident batches, before and after `predict` (the whole stage but loading the model:
        reading, blending, maps, polygons, preview, checksums); for TensorFlow also a plain `model.predict` per patch,
        and how the IoU changes with the origin of the grid. Rates are in model pixels, IoU is against the labels. The
        model is a version of `--workspace`; without one it is trained, registered and exported to int8 first.
memory  Resident set of the process tree at its largest, mapped pages included, on square scenes; a trivial network
        stands in, and windows overlap by a quarter, which saves time and no memory. Needs about 12 GB of disk for 4
        gigapixels.

Exit code 1 when a bar is missed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measured_child
import numpy as np
from bars import Bars
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
PROJECT = "buildings"
MIB = 2**20
BARE_S = 15.0
PATCHES = 40


# --- scenes ---------------------------------------------------------------------------------------------------


def build_scene(path: Path, side: int) -> None:
    """Tile ggaba_a.tif at half its resolution into a square COG, and its labels beside it as mask (.npy)."""
    import rasterio
    from affine import Affine
    from rasterio.enums import Resampling

    from satseg.scenes.cog import copy_to_cog

    with rasterio.open(SHARED / "kampala" / "ggaba_a.tif") as source:
        shape = (source.height // 2, source.width // 2)
        image = source.read(out_shape=(source.count, *shape), resampling=Resampling.average)[:3]
        place, crs = source.transform @ Affine.scale(2), source.crs
    times = [-(-side // length) for length in shape]
    np.save(path.with_suffix(".npy"), np.tile(roof_mask("ggaba_a", shape), times)[:side, :side])
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": crs}
    raw = path.with_name("raw.tif")
    with rasterio.open(raw, "w", transform=place, tiled=True, **profile) as target:
        target.write(np.tile(image, (1, *times))[:, :side, :side])
    with rasterio.open(raw) as source:
        copy_to_cog(source, path)
    raw.unlink()


def roof_mask(scene: str, shape: tuple[int, int]) -> Any:
    """Return the labels of a Kampala scene at half its resolution."""
    from rasterio.features import rasterize
    from shapely.geometry import Polygon

    outlines = json.loads((SHARED / "kampala" / f"{scene}.json").read_text())["shapes"]
    roofs = [Polygon(np.array(outline["points"]) / 2).buffer(0) for outline in outlines]
    return rasterize(roofs, shape, dtype="uint8")


# --- what is measured, each in a process of its own -----------------------------------------------------------


def run_predict(model: Any, scene: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """Run the stage with a model that is loaded; returns seconds, processor seconds and what came out."""
    from satseg.config.project import load_project
    from satseg.inference import predict
    from satseg.stages import PredictSpec
    from satseg.storage.layout import Workspace

    predict.choose_model = lambda *arguments: model
    project = load_project(PROJECT, ROOT / "include" / "projects", tuple(f"{k}={v}" for k, v in settings.items()))
    spec = PredictSpec(project=project, scenes=[str(scene)], out=folder)
    start, processor = time.perf_counter(), time.process_time()
    done = predict.run(spec, Workspace(folder / "workspace")).predictions[0]
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - processor,
        "objects": done.objects,
        "classes": done.classes,
    }


def model_pixels(scene: Path) -> float:
    """Return the pixels of all windows of a scene with the default settings."""
    import rasterio

    from satseg.config.operation import InferenceConfig
    from satseg.inference.windows import plan_windows

    config = InferenceConfig()
    with rasterio.open(scene) as dataset:
        grid = plan_windows(dataset.height, dataset.width, config.window_px, config.overlap)
    return len(grid.rows) * len(grid.cols) * float(config.window_px**2)


def bare_rate(segmenter: Any, batch: Any) -> tuple[float, float]:
    """Return pixels per second, and processor seconds per pixel, of calls with a batch in memory."""
    segmenter.predict(batch)
    calls, start, processor = 0, time.perf_counter(), time.process_time()
    while calls < 5 or time.perf_counter() - start < BARE_S:
        segmenter.predict(batch)
        calls += 1
    pixels = calls * batch.shape[0] * batch.shape[1] * batch.shape[2]
    return pixels / (time.perf_counter() - start), (time.process_time() - processor) / pixels


def measure_engine(scene: Path, folder: Path, engine: str, files: str, original: str) -> dict[str, Any]:
    """Measure one engine: the bare rate before and after, the stage between; of TensorFlow also a loop over patches."""
    import rasterio
    from rasterio.windows import Window

    from satseg.inference.chosen_model import ChosenModel
    from satseg.models.engines import load_engine
    from satseg.models.pixels import read_description

    segmenter = load_engine(Path(files), engine)
    model = ChosenModel("v1", "1", "0" * 32, None, Path(original), read_description(Path(original)))
    model.__dict__["segmenter"] = segmenter
    with rasterio.open(scene) as dataset:
        places = [Window(64 + 256 * column, 64 + 256 * row, 256, 256) for row in range(2) for column in range(4)]
        batch = np.stack([np.moveaxis(dataset.read(window=place), 0, -1) for place in places])
    before, cpu_before = bare_rate(segmenter, batch)
    found = run_predict(model, scene, folder)
    after, cpu_after = bare_rate(segmenter, batch)
    pixels = model_pixels(scene)
    result = {
        "bare": (before + after) / 2,
        "rate": pixels / found["seconds"],
        "cpu_share": (cpu_before + cpu_after) / 2 * pixels / found["cpu"],
        "iou": iou(Path(found["classes"]), np.load(scene.with_suffix(".npy"))),
        "objects": found["objects"],
        "seconds": found["seconds"],
    }
    if engine == "tf":
        result |= {"loop": patch_loop(segmenter, batch), "shifts": shifted_grids(segmenter)}
    return result


def patch_loop(segmenter: Any, batch: Any) -> float:
    """Return pixels per second of `model.predict` called for one patch at a time."""
    network = segmenter.network
    network.predict(batch[:1], verbose=0)
    start = time.perf_counter()
    for number in range(PATCHES):
        network.predict(batch[number % 8 : number % 8 + 1], verbose=0)
    return PATCHES * batch.shape[1] * batch.shape[2] / (time.perf_counter() - start)


def shifted_grids(segmenter: Any) -> list[float]:
    """Return by how much the IoU on ggaba_b.tif changes when the grid of windows begins elsewhere."""
    import rasterio
    from rasterio.enums import Resampling

    from satseg.inference.blend import blend
    from satseg.inference.windows import plan_windows, read_strips

    with rasterio.open(SHARED / "kampala" / "ggaba_b.tif") as source:
        shape = (source.height // 2, source.width // 2)
        image = np.moveaxis(source.read([1, 2, 3], out_shape=(3, *shape), resampling=Resampling.average), 0, -1)
    labels, edge, found = roof_mask("ggaba_b", shape) > 0, 64, []
    for down, right in ((0, 0), (13, 0), (0, 29), (37, 51)):
        scene = Rows(image[down:, right:])
        grid = plan_windows(scene.height, scene.width, 256, 0.5)
        rows = blend(read_strips(scene, grid), grid, segmenter.predict, 1, 8)
        roofs = np.concatenate([finished.probabilities[..., 0] >= 0.5 for finished in rows])
        found.append(overlap(roofs[edge - down :, edge - right :], labels[edge:, edge:]))
    return [value - found[0] for value in found[1:]]


class Rows:
    """A scene in memory."""

    def __init__(self, pixels: Any) -> None:
        self.pixels, self.height, self.width = pixels, *pixels.shape[:2]

    def read_rows(self, start: int, stop: int) -> tuple[Any, Any]:
        """Return pixels and which of them are data."""
        return self.pixels[start:stop], np.ones((max(0, stop - start), self.width), bool)


def overlap(found: Any, labels: Any) -> float:
    """Return intersection over union of two masks."""
    return float((found & labels).sum() / (found | labels).sum())


def iou(classes: Path, labels: Any) -> float:
    """Return intersection over union of a class map with a mask."""
    import rasterio

    with rasterio.open(classes) as dataset:
        return overlap(dataset.read(1) > 0, labels > 0)


class Bright:
    """The stand-in of the memory part: blocks of 16 pixels whose middle is bright are buildings."""

    def predict(self, images: Any) -> Any:
        """Return (N, H, W, 1)."""
        bright = (images[:, 8::16, 8::16, :1] > 170).astype(np.float32)
        return np.repeat(np.repeat(bright, 16, axis=1), 16, axis=2)


def measure_memory(scene: Path, folder: Path) -> dict[str, Any]:
    """Predict a scene with the stand-in."""
    from satseg.inference.chosen_model import ChosenModel
    from satseg.models.interface import ModelDescription

    about = ModelDescription(
        project=PROJECT, architecture="none", backbone="none", bands=("red", "green", "blue"), dtype="uint8",
        classes=("building",), patch_px=256, gsd_m=None, mean=(0.0,) * 3, std=(1.0,) * 3, dataset_version="v1",
        patch_set="0" * 12,
    )  # fmt: skip
    model = ChosenModel("v1", "1", "0" * 32, None, folder, about)
    model.__dict__["segmenter"] = Bright()
    return run_predict(model, scene, folder, **{"inference.min_area_m2": 20, "inference.overlap": 0.25})


def child(job: str, scene: Path, folder: Path, **options: Any) -> dict[str, Any]:
    """Run one measurement in a fresh process; see `measured_child.child`."""
    order = {"job": job, "scene": str(scene), "folder": str(folder), **options}
    return measured_child.child(__file__, order, folder)


def child_main(order: dict[str, Any]) -> None:
    """Do one job and print its result as the last line."""
    scene, folder = Path(order["scene"]), Path(order["folder"])
    if order["job"] == "engine":
        result = measure_engine(scene, folder, order["engine"], order["files"], order["original"])
    elif order["job"] == "scene":
        result = build_scene(scene, order["side"]) or {}
    elif order["job"] == "big scene":
        import patches

        result = patches.build_scene(scene, order["side"], order["side"], 0.0) or {}
    else:
        result = measure_memory(scene, folder)
    print(json.dumps(result))


# --- parts ----------------------------------------------------------------------------------------------------


def make_version(workspace: Path) -> None:
    """Train on the Kampala scenes, register and export version 1."""
    data = workspace.parent / "kampala"
    shutil.copytree(SHARED / "kampala", data, dirs_exist_ok=True)
    environment = os.environ | {
        "SATSEG_WORKSPACE": str(workspace),
        "SATSEG_PROJECTS_DIR": str(ROOT / "include/projects"),
    }
    run = ""
    for words in (
        ["ingest", str(data)],
        ["patch"],
        ["train"],
        ["register", "RUN"],
        ["export", "1", "--format", "tflite", "--precision", "int8"],
    ):
        command = [run if word == "RUN" else word for word in words]
        print(f"satseg {' '.join(command)} ...", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "satseg", *command, "--project", PROJECT, "--json"],
            env=environment, stdout=subprocess.PIPE, check=False,
        )  # fmt: skip
        if done.returncode not in {0, 4}:  # 4: the export did not pass its parity
            raise SystemExit(f"satseg {' '.join(command)} ended with exit code {done.returncode}")
        run = json.loads(done.stdout).get("run_id", run)


def engines_of(workspace: Path, reference: str) -> dict[str, tuple[str, str]]:
    """Return engine → its folder and the original's, TensorFlow first, and which of them `auto` picks as "auto"."""
    from satseg.models.exports import choose_engine, exports
    from satseg.storage.layout import Workspace
    from satseg.tracking.models import model_folder, resolve_model

    where = Workspace(workspace)
    ref = resolve_model(where, PROJECT, reference)
    original = model_folder(where, ref)
    found = {"tf": (str(original), str(original))}
    for export in exports(where, PROJECT, ref.version) if ref.version else []:
        found[export.report.engine] = (str(export.folder), str(original))
    found["auto"] = (choose_engine(where, PROJECT, ref.version, original).engine, str(original))
    return found


def speed(work: Path, bars: Bars, engines: dict[str, tuple[str, str]], mpix: float) -> None:
    """Compare pixels per second."""
    scene, side = work / "scene.tif", round((mpix * 1e6) ** 0.5)
    auto, _ = engines.pop("auto")
    child("scene", scene, work / "job", side=side)
    results = {}
    for engine, (files, original) in engines.items():
        print(f"speed: {engine} ...", file=sys.stderr)
        results[engine] = child("engine", scene, work / "job", engine=engine, files=files, original=original)
    loop, tf = results["tf"]["loop"], results["tf"]
    bars.add("scene", f"{side**2 / 1e6:.0f} MPix, {model_pixels(scene) / 1e6:.0f} million model pixels")
    bars.add("loop of model.predict per patch", f"{loop / 1e6:.2f} MPix/s")
    for engine, found in results.items():
        bars.add(f"{engine}: bare, resident batches", f"{found['bare'] / 1e6:.2f} MPix/s")
        share = found["rate"] / found["bare"]
        rate = f"{found['rate'] / 1e6:.2f} MPix/s, {share:.0%} of the bare engine"
        bars.add(f"{engine}: satseg predict", rate, "≥ 90%", share >= 0.9)
        bars.add("  the model's part of all processor time", f"{found['cpu_share']:.0%}")
        bars.add(
            "  objects, time, peak memory",
            f"{found['objects']:,}, {found['seconds']:.0f} s, {found['peak'] / MIB:.0f} MiB",
        )
        difference = found["iou"] - tf["iou"]
        met = None if engine == "tf" else abs(difference) <= 0.005
        bars.add(
            "  IoU with the labels", f"{found['iou']:.4f} ({difference:+.4f})", "" if met is None else "± 0.005", met
        )
    shifts = tf["shifts"]
    largest = max(abs(shift) for shift in shifts)
    values = ", ".join(f"{shift:+.4f}" for shift in shifts)
    bars.add("IoU on ggaba_b when the grid begins elsewhere", values, "< 0.005", largest < 0.005)
    least = 8.0 if "litert_int8" in results else 4.0
    times = results[auto]["rate"] / loop
    bars.add(f"auto ({auto}) against the loop", f"{times:.1f} ×", f"≥ {least:.0f} ×", times >= least)


def memory(work: Path, bars: Bars, sizes: list[float]) -> None:
    """Measure peak memory on growing scenes."""
    peaks = {}
    for gpix in sizes:
        scene, side = work / "big.tif", round((gpix * 1e9) ** 0.5) // 512 * 512
        print(f"memory: generating {gpix:g} GPix ...", file=sys.stderr)
        child("big scene", scene, work / "job", side=side)
        print(f"memory: predicting {gpix:g} GPix ...", file=sys.stderr)
        found = child("memory", scene, work / "job")
        peaks[gpix] = found["peak"] / MIB
        rate = side**2 / found["seconds"] / 1e6
        bars.add(
            f"{gpix:g} GPix ({side} × {side})",
            f"{found['seconds']:.0f} s, {rate:.0f} MPix/s, {found['objects']:,} objects",
        )
        bars.add("  peak memory", f"{peaks[gpix]:.0f} MiB", "≤ 2048 MiB", peaks[gpix] <= 2048)
        for path in work.glob("big.*"):
            path.unlink()
        shutil.rmtree(work / "job")
    if len(peaks) > 1:
        spread = peaks[max(peaks)] / peaks[min(peaks)] - 1
        bars.add("peak memory, largest against smallest scene", f"{spread:+.0%}", "≤ +25%", spread <= 0.25)


def main() -> int:
    """Run the parts asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["speed", "memory", "all"], default="all")
    parser.add_argument("--mpix", type=float, default=100, help="size of the speed part's scene")
    parser.add_argument("--gpix", type=float, nargs="+", default=[0.1, 1, 4], help="sizes of the memory part")
    parser.add_argument("--workspace", type=Path, help="one with a trained model; default: one is made")
    parser.add_argument("--model", default="1", help="version, alias or run of that workspace")
    parser.add_argument("--skip", nargs="*", default=[], help="engines to leave out, besides tf and the one of auto")
    parser.add_argument("--work", type=Path, help="where scenes and maps go; default: a temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child_main(json.loads(given.child))
        return 0
    if not (SHARED / "kampala" / "ggaba_a.tif").is_file():
        print(f"{SHARED}/kampala is missing: set SHARED_DATA to the folder that holds it.", file=sys.stderr)
        return 1
    bars = Bars("Predicting whole scenes")
    with tempfile.TemporaryDirectory(prefix="satseg-inference-") as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if given.part in {"speed", "all"}:
            if given.workspace is None:
                make_version(work / "workspace")
            engines = engines_of(given.workspace or work / "workspace", given.model)
            left_out = set(given.skip) - {engines["auto"][0], "tf"}
            speed(work, bars, {name: files for name, files in engines.items() if name not in left_out}, given.mpix)
        if given.part in {"memory", "all"}:
            memory(work, bars, given.gpix)
        shutil.rmtree(work / "job", ignore_errors=True)
    Console(width=130).print(bars.table)
    return 0 if bars.met else 1


if __name__ == "__main__":
    sys.exit(main())
