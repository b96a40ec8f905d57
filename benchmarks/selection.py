"""Windows chosen by `satseg select` beside windows drawn at random, at the same labelling budget.

    python benchmarks/selection.py [--seeds 0 1 2] [--budget 12] [--draws 3] [--workspace DIR]

A champion learns from six generated towns in summer. The pool is twelve unlabelled scenes of other towns: six like
those, and two each in winter, in the dry season, and by another sensor in haze. Of the pool's 108 windows of 58 m a
budget is labelled (with the true outlines): those of `satseg select`, or random ones (of `--draws` draws per seed
the mean counts). With them and the old scenes the champion is fine-tuned, everything else being equal, and measured on
eight further towns, two of each kind. A seed decides the pool, the draws and the training. Bar: for every seed the IoU
over all test scenes is higher than with random windows. With --workspace a benchmark that was stopped goes on.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import yaml
from kampala_scenes import Satseg
from rasterio.features import rasterize
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table
from shapely.geometry import Polygon, box

SIZE_PX, GSD_M, WINDOW_PX = 288, 0.6, 96
KINDS = {
    "summer": (),
    "winter": ("--season", "winter"),
    "dry": ("--season", "dry"),
    "sensor b, haze": ("--sensor", "b", "--haze", "0.4"),
}
OLD, POOL, TEST = {"summer": 6}, {"summer": 6, "winter": 2, "dry": 2, "sensor b, haze": 2}, dict.fromkeys(KINDS, 2)
Places = list[tuple[str, int, int]]  # scene, row, column


@dataclass(frozen=True)
class Scores:
    """IoU over all test scenes, and of each kind."""

    whole: float
    kinds: dict[str, float]


def project(name: str) -> dict:
    """Return the project file: a small network, windows of the pool as large as four patches."""
    return {
        "name": name,
        "classes": ["building"],
        "gsd_m": GSD_M,
        "patches": {
            "size_px": 64,
            "stride_px": 32,
            "block_px": 128,
            "val_fraction": 0.15,
            "test_fraction": 0.0,
            "buffer_m": 0.0,
        },
        "training": {"backbone": "resnet18", "epochs": 30, "steps_per_epoch": 20},
        "retraining": {"epochs": 12, "learning_rate": 5e-4},
        "inference": {"window_px": 96},
        "selection": {"window_px": WINDOW_PX, "context_px": 16},
    }


def towns(folder: Path, counts: dict[str, int], seed: int) -> dict[str, list[str]]:
    """Draw labelled towns and return their names by kind."""
    names: dict[str, list[str]] = {}
    for number, (kind, count) in enumerate(counts.items()):
        prefix = f"s{seed}_{''.join(filter(str.isalpha, kind))}"
        words = ["--count", str(count), "--size", str(SIZE_PX), "--gsd", str(GSD_M), "--prefix", prefix]
        words += ["--seed", str(10 * seed + number), *KINDS[kind], "--json", "--force"]
        command = [sys.executable, "-m", "satseg", "demo-scenes", str(folder), *words]
        drawn = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        names[kind] = json.loads(drawn.stdout)["scenes"]
    return names


def outlines(scene: Path) -> list[Polygon]:
    """Return the true polygons of a drawn scene, in its pixels."""
    shapes = json.loads(scene.with_suffix(".json").read_text())["shapes"]
    return [Polygon(shape["points"]).buffer(0) for shape in shapes]


def label(folder: Path, truth: Path, places: Places) -> None:
    """Cut windows out of the scenes of `truth` and label them as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for scene, row, col in places:
        name = f"{scene}-{row}-{col}"
        with rasterio.open(truth / f"{scene}.tif") as source:
            window = Window(col, row, WINDOW_PX, WINDOW_PX)
            profile = source.profile | {"width": WINDOW_PX, "height": WINDOW_PX}
            profile |= {"transform": source.window_transform(window), "tiled": False}
            for key in ("blockxsize", "blockysize"):
                profile.pop(key, None)
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as target:
                target.write(source.read(window=window))
        frame = box(col, row, col + WINDOW_PX, row + WINDOW_PX)
        parts = [outline.intersection(frame) for outline in outlines(truth / f"{scene}.tif")]
        drawn = [part for whole in parts for part in getattr(whole, "geoms", [whole]) if part.area > 0]
        shapes = [
            {
                "label": "building",
                "shape_type": "polygon",
                "points": [[x - col, y - row] for x, y in part.exterior.coords[:-1]],
            }
            for part in drawn
        ]
        tree = {"imagePath": f"{name}.tif", "imageHeight": WINDOW_PX, "imageWidth": WINDOW_PX, "shapes": shapes}
        (folder / f"{name}.json").write_text(json.dumps(tree))


def satseg_for(folder: Path, name: str) -> Satseg:
    """Return the program on the benchmark's workspace, with a project file of its own."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(project(name)))
    return Satseg(folder / "workspace", file)


def champion(folder: Path) -> str:
    """Draw the old and the test towns, train the champion, and return its run id."""
    if not (folder / "champion.json").is_file():
        (folder / "test.json").write_text(json.dumps(towns(folder / "test", TEST, 900)))
        towns(folder / "old", OLD, 800)
        satseg = satseg_for(folder, "champion")
        satseg("ingest", str(folder / "old"))
        satseg("patch")
        (folder / "champion.json").write_text(json.dumps(satseg("train")["run_id"]))
    return str(json.loads((folder / "champion.json").read_text()))


def chosen(folder: Path, seed: int, origin: str, budget: int, draws: int) -> dict[str, Places]:
    """Return the windows of each way: `satseg select`, and random draws."""
    pool, work = folder / f"pool{seed}", folder / f"unlabelled{seed}"
    names = [name for of_kind in towns(pool, POOL, seed).values() for name in of_kind]
    work.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(pool / f"{name}.tif", work)
    satseg = satseg_for(folder, f"pool{seed}")
    satseg("ingest", str(work))
    selection = satseg("select", "--budget", str(budget), "--model", origin)["folder"]
    windows = json.loads((Path(selection) / "selection.json").read_text())["windows"]
    ways: dict[str, Places] = {"selected": [(one["scene"], one["row"], one["col"]) for one in windows]}
    corners = range(0, SIZE_PX - WINDOW_PX + 1, WINDOW_PX)
    every = [(name, row, col) for name in names for row in corners for col in corners]
    for draw in range(draws):
        ways[f"random {draw + 1}"] = random.Random(f"{seed}-{draw}").sample(every, budget)
    return ways


def scored(folder: Path, satseg: Satseg, run_id: str) -> Scores:
    """Return the IoU of a run's maps of the test towns."""
    counts: dict[str, np.ndarray] = {}
    test = json.loads((folder / "test.json").read_text())
    files = [str(folder / "test" / f"{name}.tif") for names in test.values() for name in names]
    made = {one["scene"]: one["classes"] for one in satseg("predict", *files, "--model", run_id)["predictions"]}
    for kind, names in test.items():
        counts[kind] = np.zeros(2)
        for name in names:
            with rasterio.open(made[name]) as opened:
                found = opened.read(1) == 1
            truth = rasterize(outlines(folder / "test" / f"{name}.tif"), out_shape=found.shape, dtype="uint8") == 1
            counts[kind] += [(found & truth).sum(), (found | truth).sum()]
    whole = sum(counts.values(), start=np.zeros(2))
    return Scores(float(whole[0] / whole[1]), {kind: float(both / either) for kind, (both, either) in counts.items()})


def measure(folder: Path, seed: int, way: str, places: Places, origin: str) -> Scores:
    """Label windows, fine-tune the champion with them and the old scenes, and score it; kept in the folder."""
    name = f"{way.replace(' ', '')}-{seed}"
    kept = folder / "outcomes" / f"{name}-{len(places)}.json"
    if not kept.is_file():
        satseg, labelled = satseg_for(folder, name), folder / "labelled" / name
        shutil.rmtree(labelled, ignore_errors=True)
        label(labelled, folder / f"pool{seed}", places)
        for file in (folder / "old").iterdir():
            shutil.copy(file, labelled)
        satseg("ingest", str(labelled))
        satseg("patch")
        run_id = satseg("train", "--init-from", origin, "--set", f"training.seed={seed}")["run_id"]
        found = scored(folder, satseg, run_id)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"whole": found.whole, "kinds": found.kinds}))
    return Scores(**json.loads(kept.read_text()))


def rows(before: Scores, found: dict[int, dict[str, Scores]], taken: dict[int, int]) -> list[tuple[str, ...]]:
    """Return a row per seed and way, and one of means; the last column says whether the bar is met."""
    table = [("", "champion as it is", *_shown([before]), "", "", "")]
    for seed, ways in found.items():
        random_ones = [scores for way, scores in ways.items() if way != "selected"]
        bar = statistics.mean(scores.whole for scores in random_ones)
        met = "yes" if ways["selected"].whole > bar else "NO"
        table.append((str(seed), "random", *_shown(random_ones), "", "", ""))
        table.append((str(seed), "selected", *_shown([ways["selected"]]), str(taken[seed]), f"> {bar:.3f}", met))
    means = {True: [], False: []}
    for ways in found.values():
        for way, scores in ways.items():
            means[way == "selected"].append(scores)
    table.append(("mean", "random", *_shown(means[False]), "", "", ""))
    table.append(("mean", "selected", *_shown(means[True]), "", "", ""))
    return table


def _shown(scores: list[Scores]) -> tuple[str, ...]:
    columns = [[one.whole for one in scores], *([one.kinds[kind] for one in scores] for kind in KINDS)]
    return tuple(f"{statistics.mean(column):.3f}" for column in columns)


def main() -> int:
    """Run the seeds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--draws", type=int, default=3, help="random draws per seed")
    parser.add_argument("--workspace", type=Path, help="where to work; default: a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="satseg-selection-") as temporary:
        folder = (given.workspace or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        origin = champion(folder)
        found: dict[int, dict[str, Scores]] = {}
        taken = {}
        for seed in given.seeds:
            ways = chosen(folder, seed, origin, given.budget, given.draws)
            taken[seed] = sum("summer" not in scene for scene, _, _ in ways["selected"])
            found[seed] = {way: measure(folder, seed, way, places, origin) for way, places in ways.items()}
            print(
                f"seed {seed}: " + ", ".join(f"{way} {one.whole:.3f}" for way, one in found[seed].items()), flush=True
            )
        before = scored(folder, satseg_for(folder, "champion"), origin)
    drawn = Table(
        "seed", "windows", "IoU", *KINDS, "of new kinds", "bar", "met", title=f"{given.budget} windows labelled"
    )
    table = rows(before, found, taken)
    for row in table:
        drawn.add_row(*row)
    Console(width=140).print(drawn)
    return 1 if any(row[-1] == "NO" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
