"""Ingest of very large scenes: memory, and throughput beside `gdal_translate -of COG` on the same file.

    python benchmarks/ingest.py [--gpix 1] [--rounds 1] [--folder DIR]

Makes two scenes of 10^9 pixel positions with texture like an aerial image's (uint8 with one band, uint16 with four),
and for each runs, one after the other, GDAL's COG driver with the options satseg uses (rasterio's GDAL in a process of
its own) and `satseg ingest` as a user calls it: checksums, conversion, statistics, validation with Data Docs, STAC, DVC
version. Bars: resident memory of the whole process tree of the ingest at most 512 MiB, throughput at least 60% of
GDAL's. Needs about 20 GB of disk at 1 GPix; everything is removed again.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import rasterio
from affine import Affine
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from satseg.progress import progress_bar
from satseg.scenes.cog import creation_options

ROOT = Path(__file__).resolve().parents[1]
MOST_MIB = 512.0
LEAST_RATIO = 0.60
SAMPLE_EVERY_S = 0.05
TEXTURE_PX = 2048
ROWS = 512
GDAL = """
import json, sys, rasterio, rasterio.shutil
from satseg.scenes.raster import gdal_environment
with gdal_environment():
    rasterio.shutil.copy(sys.argv[1], sys.argv[2], driver="COG", **json.loads(sys.argv[3]))
"""


@dataclass(frozen=True)
class Case:
    """A scene to ingest; middle, spread and noise are in units of its pixels."""

    name: str
    bands: tuple[str, ...]
    dtype: str
    middle: float
    spread: float
    noise: float


CASES = (
    Case("uint8, 1 band", ("pan",), "uint8", 110, 35, 2),
    Case("uint16, 4 bands", ("red", "green", "blue", "nir"), "uint16", 1500, 350, 6),
)


@dataclass(frozen=True)
class Run:
    """What one process and all below it took: time, processor time (all cores), largest resident set; its stdout."""

    seconds: float
    processor_s: float
    peak_mib: float
    said: str


@dataclass
class Timing:
    """Runs of one program on one scene."""

    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    peak_mib: float = 0.0

    @property
    def median_s(self) -> float:
        """The median run."""
        return statistics.median(self.seconds)

    def add(self, run: Run) -> None:
        """Add a run."""
        self.seconds.append(run.seconds)
        self.processor_s.append(run.processor_s)
        self.peak_mib = max(self.peak_mib, run.peak_mib)


def texture(seed: int) -> np.ndarray:
    """Return (T, T) float32 without seams and with a landscape's falling spectrum; mean 0, deviation 1."""
    white = np.random.default_rng(seed).standard_normal((TEXTURE_PX, TEXTURE_PX)).astype(np.float32)
    rows, cols = np.fft.fftfreq(TEXTURE_PX)[:, None], np.fft.rfftfreq(TEXTURE_PX)[None]
    spectrum = np.fft.rfft2(white) / (np.hypot(rows, cols) + 2 / TEXTURE_PX) ** 1.2
    pattern = np.fft.irfft2(spectrum, s=white.shape).astype(np.float32)
    return (pattern - pattern.mean()) / pattern.std()


def make_scene(case: Case, side: int, path: Path) -> None:
    """Write a square scene by rows of blocks: shifted pieces of one texture, brightness of its own, sensor noise."""
    pattern, random = texture(0), np.random.default_rng(1)
    highest = np.iinfo(case.dtype).max
    profile = {
        **{"driver": "GTiff", "width": side, "height": side, "count": len(case.bands), "dtype": case.dtype},
        **{"crs": "EPSG:32636", "transform": Affine(0.5, 0, 300_000, 0, -0.5, 6_000_000), "interleave": "pixel"},
        **{"tiled": True, "blockxsize": 256, "blockysize": 256, "photometric": "MINISBLACK", "bigtiff": "IF_SAFER"},
        **{"compress": "ZSTD", "zstd_level": 1, "predictor": 2, "num_threads": 2},
    }
    with rasterio.open(path, "w", **profile) as dataset, progress_bar(f"Making {case.name}", side) as advance:
        dataset.descriptions = case.bands
        for row in range(0, side, ROWS):
            height = min(ROWS, side - row)
            noise = case.noise * random.standard_normal((height, 2 * TEXTURE_PX), dtype=np.float32)
            piece = np.empty((len(case.bands), height, side), case.dtype)
            for band in range(len(case.bands)):
                for col in range(0, side, TEXTURE_PX):
                    width = min(TEXTURE_PX, side - col)
                    shift, cut = random.integers(0, TEXTURE_PX, 2)
                    lit = case.middle * random.uniform(0.8, 1.2) * (1 + 0.2 * band)
                    ground = np.roll(pattern[(row + np.arange(height)) % TEXTURE_PX], shift, axis=1)[:, :width]
                    values = lit + case.spread * ground + noise[:, cut : cut + width]
                    piece[band, :, col : col + width] = np.clip(values, 1, highest)
            dataset.write(piece, window=Window(0, row, side, height))
            advance(height)


def run_watched(command: list[str], environment: dict[str, str], log: Path) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; the end of its log is shown.
    """
    with log.open("w") as stream:
        start, peak, before = time.perf_counter(), 0.0, resource.getrusage(resource.RUSAGE_CHILDREN)
        running = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=stream, text=True
        )
        tree = psutil.Process(running.pid)
        while running.poll() is None:
            peak = max(peak, resident_bytes(tree))
            time.sleep(SAMPLE_EVERY_S)
        seconds = time.perf_counter() - start
    said = running.stdout.read()
    if running.returncode:
        print("\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
        raise SystemExit(f"{' '.join(command[:5])} … ended with exit code {running.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, processor_s, peak / 2**20, said)


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident set of a process and all below it.

    A child that has not yet become its program (vfork) still shows its parent's command line and its parent's memory,
    the very same pages, which are counted once.
    """
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        own = process.cmdline()
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                newborn = time.time() - child.create_time() < 1 and child.cmdline() == own
                total += 0 if newborn else child.memory_info().rss
    return total


def measure(case: Case, side: int, rounds: int, folder: Path) -> tuple[Timing, Timing]:
    """Return the timings of GDAL and of the ingest."""
    source = folder / "drop" / "scene.tif"
    source.parent.mkdir(parents=True)
    make_scene(case, side, source)
    project = folder / "bench.yaml"
    project.write_text(json.dumps({"name": "bench", "classes": ["thing"], "bands": case.bands}))
    gdal, ingest = Timing(), Timing()
    for number in range(rounds):
        cog = folder / "gdal.tif"
        options = json.dumps(creation_options(case.dtype))
        command = [sys.executable, "-c", GDAL, str(source), str(cog), options]
        gdal.add(run_watched(command, {}, folder / "gdal.log"))
        cog.unlink()
        workspace = folder / f"workspace-{number}"
        command = [sys.executable, "-m", "satseg", "ingest", str(source.parent), "--project", str(project), "--json"]
        run = run_watched(command, {"SATSEG_WORKSPACE": str(workspace)}, folder / "ingest.log")
        ingest.add(run)
        check(json.loads(run.said), source, workspace / "data" / "bench" / "scenes" / "scene.tif")
        subprocess.run(["rm", "-rf", str(workspace)], check=True)
    return gdal, ingest


def check(result: dict, source: Path, cog: Path) -> None:
    """Make sure that what was timed is the scene: a COG with the source's pixels.

    Raises:
        SystemExit: it is not.
    """
    with rasterio.open(source) as before, rasterio.open(cog) as after:
        corner = Window(before.width - 700, before.height - 700, 700, 700)
        same = np.array_equal(before.read(window=corner), after.read(window=corner))
        if result["scenes"] != ["scene"] or after.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG" or not same:
            raise SystemExit(f"the ingest did not make a COG of the scene: {result}")


def judge(case: Case, side: int, timings: tuple[Timing, Timing], table: Table) -> bool:
    """Add the rows of a case; returns whether its bars are met."""
    gdal, ingest = timings
    mpix = side * side / 1e6
    # of each round by itself, because the machine's load changes between them
    ratio = statistics.median(one / other for one, other in zip(gdal.seconds, ingest.seconds, strict=True))
    for name, timing in (("gdal_translate -of COG", gdal), ("satseg ingest", ingest)):
        speed, processor = f"{mpix / timing.median_s:.1f}", f"{statistics.median(timing.processor_s):.0f}"
        table.add_row(case.name, name, f"{timing.median_s:.0f}", processor, speed, f"{timing.peak_mib:.0f}")
    rows = (
        ("throughput, part of GDAL's", f"{ratio:.2f}", f"≥ {LEAST_RATIO:.2f}", ratio >= LEAST_RATIO),
        ("peak memory, MiB", f"{ingest.peak_mib:.0f}", f"≤ {MOST_MIB:.0f}", ingest.peak_mib <= MOST_MIB),
    )
    for what, value, bar, met in rows:
        table.add_row(case.name, what, "", "", "", "", value, bar, "yes" if met else "NO")
    return all(met for *_, met in rows)


def main(arguments: list[str] | None = None) -> int:
    """Run all cases; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpix", type=float, default=1.0, help="pixel positions of a scene, in thousand millions")
    parser.add_argument("--rounds", type=int, default=1, help="how often each program runs; medians are compared")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's temporary folder")
    parser.add_argument("--case", choices=[case.dtype for case in CASES], help="only this one")
    given = parser.parse_args(arguments)
    side = int(np.ceil((given.gpix * 1e9) ** 0.5))
    columns = ("scene", "what", "s", "CPU s", "MPix/s", "peak MiB", "value", "bar", "met")
    table = Table(*columns, title=f"Ingest of {side} × {side} pixels, {psutil.cpu_count()} cores")
    met = True
    for case in CASES:
        if given.case in {None, case.dtype}:
            if given.folder:
                given.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="satseg-ingest-", dir=given.folder) as folder:
                met = judge(case, side, measure(case, side, given.rounds, Path(folder)), table) and met
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
