"""How far the label-free estimate of the IoU is from the truth, over simulated nights.

    python benchmarks/drift_estimate.py --workspace DIR [--worlds 0 1 2 3 4] [--nights 10]

In each world (a kind of generated town, see drift_worlds.py) a pixel classifier (gradient boosting on colour and its
surroundings) learns roofs on 12 towns. Twelve others are its held-out ground: `satseg.drift.estimate` calibrates on
them and learns from simulated changes of them, as `satseg drift concept` does with a champion's test blocks. Nights of
four
other towns follow: quiet ones, and ones with haze, other gain, noise, blur, another season; the season is of no kind
that is simulated. The labels are known, so bias and coverage can be counted, beside those of the uncorrected promise of
the calibrated probabilities (interval: bootstrap over blocks). Bars: the mean bias over all nights is within ±0.03, and
the 95 % interval holds the truth in at least 90 % of them.
"""

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import cv2
import drift_worlds as worlds
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier

from satseg.datasets.demo_canvas import Canvas
from satseg.datasets.demo_changes import SEASONS, Change
from satseg.datasets.demo_roofs import paint_roof
from satseg.datasets.demo_towns import plan_town
from satseg.drift.estimate import Estimator, Trial, View, curves_of, joined, promised_counts, true_counts, viewed
from satseg.drift.simulated import picture_statistics, simulated_changes
from satseg.evaluation.intervals import block_bootstrap, iou
from satseg.storage.atomic import write_json

BLOCK_PX, TOWNS, SCENES = 64, 12, 4
EVERY = 3  # of the pixels along rows and columns that count; all would take nine times as long and say the same
NIGHTS = {
    "quiet": Change(),
    "haze 0.15": Change(haze=0.15),
    "gain 0.9": Change(gain=0.9),
    "noise 6 DN": Change(noise_dn=6),
    "blur 1.5 px": Change(blur_px=1.5),
    "autumn": Change(),
}
Classifier = HistGradientBoostingClassifier


@cache
def roofs_of(world: int, part: str, k: int) -> np.ndarray:
    """Return where a world's town has roofs, (H, W) bool: the plan drawn without ground, light and shadow."""
    scene, size = worlds.PARTS[part].first + k, worlds.SIZE_PX
    canvas = Canvas(size, worlds.GSD_M)
    season = SEASONS[worlds.PARTS[part].look.season]
    for building in plan_town(worlds.FIRST_SEED + world, scene, size * worlds.GSD_M).buildings:
        paint_roof(canvas, building, season)
    return canvas.roof_mask() > 0


def described(pixels: np.ndarray) -> np.ndarray:
    """Return features (H·W, F) of the pixels of a scene."""
    image = pixels.astype(np.float32)
    around = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (1.5, 4.0)]
    rough = cv2.GaussianBlur((image - around[0]) ** 2, (0, 0), 3.0)
    return np.concatenate([image, *around, rough], axis=2).reshape(-1, 12)


def learned(scenes: np.ndarray, roofs: list[np.ndarray]) -> Classifier:
    """Return a classifier of pixels."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(worlds.SIZE_PX**2, 5000, replace=False) for _ in roofs]
    values = np.concatenate([described(scene)[row] for scene, row in zip(scenes, rows, strict=True)])
    truth = np.concatenate([roof.ravel()[row] for roof, row in zip(roofs, rows, strict=True)])
    return HistGradientBoostingClassifier(max_iter=120, random_state=0).fit(values, truth)


def blocks_of(classifier: Classifier, pixels: np.ndarray, roofs: np.ndarray) -> list[View]:
    """Return a labelled view of each block of a scene."""
    values = described(pixels).reshape(*roofs.shape, -1)[::EVERY, ::EVERY]
    chances = classifier.predict_proba(values.reshape(-1, values.shape[-1]))[:, 1].astype(np.float32)
    chances, truth = chances.reshape(values.shape[:2]), roofs[::EVERY, ::EVERY]
    features = worlds.described(pixels[None])[0]
    starts = range(0, worlds.SIZE_PX, BLOCK_PX)
    views = []
    for place, (row, col) in enumerate((row, col) for row in starts for col in starts):
        part = tuple(slice(-(-first // EVERY), -(-(first + BLOCK_PX) // EVERY)) for first in (row, col))
        found = chances[part].reshape(-1, 1)
        mapped, labels = (found[:, 0] >= 0.5).astype(np.uint8), truth[part].ravel().astype(np.uint8)
        views.append(viewed(found, mapped, labels, picture_statistics(features[place][None], worlds.BANDS)))
    return views


def estimator_of(workspace: Path, world: int) -> tuple[Classifier, Estimator, list[View]]:
    """Return a world's classifier, its estimator, and the blocks that were held out."""
    scenes = worlds.pixels(workspace, world, "reference")
    roofs = [roofs_of(world, "reference", k) for k in range(2 * TOWNS)]
    classifier = learned(scenes[:TOWNS], roofs[:TOWNS])
    trials, unchanged = [], []
    for change in simulated_changes():
        changed = [change.apply(scenes[TOWNS + k], 255.0, k) for k in range(TOWNS)]
        of_towns = [blocks_of(classifier, pixels, roofs[TOWNS + k]) for k, pixels in enumerate(changed)]
        trials.append(Trial(change.kind, tuple(joined(blocks) for blocks in of_towns)))
        unchanged = unchanged or [view for blocks in of_towns for view in blocks]
    return classifier, Estimator(trials), unchanged


def night(workspace: Path, world: int, number: int, name: str, model: tuple) -> dict[str, float]:
    """Return true, promised and estimated IoU of a night's scenes."""
    classifier, estimator, held_out = model
    part = "season" if name == "autumn" else "quiet"
    there = worlds.PARTS[part].count
    chosen = [(SCENES * number + k) % there for k in range(SCENES)]
    scenes = worlds.pixels(workspace, world, part)[chosen]
    changed = worlds.changed(scenes, NIGHTS[name], seed=number)
    roofs = [roofs_of(world, part, k) for k in chosen]
    views = [view for pixels, roof in zip(changed, roofs, strict=True) for view in blocks_of(classifier, pixels, roof)]
    curves = curves_of(held_out)
    promise = block_bootstrap(np.array([promised_counts(view, curves)[0] for view in views]), iou)
    truth = float(iou(sum(true_counts(view) for view in views))[0])
    found = estimator.estimate(views)
    return {
        "truth": truth,
        "promise": promise.value,
        "promise_low": promise.low,
        "promise_high": promise.high,
        "estimate": found.value,
        "low": found.low,
        "high": found.high,
        "stretch": estimator.stretch,
    }


def row(name: str, group: list[dict]) -> tuple[list[str], float, float]:
    """Return a line of the table, and bias and coverage of the estimate."""
    truth = np.array([one["truth"] for one in group])
    cells, told = [name, str(len(group)), f"{truth.mean():.3f}"], (0.0, 0.0)
    for value, low, high in (("promise", "promise_low", "promise_high"), ("estimate", "low", "high")):
        error = np.array([one[value] for one in group]) - truth
        holds = float(np.mean([one[low] <= one["truth"] <= one[high] for one in group]))
        cells += [f"{error.mean():+.3f}", f"{np.abs(error).mean():.3f}", f"{holds:.0%}"]
        told = (float(error.mean()), holds)
    cells.append(f"±{np.mean([one['high'] - one['low'] for one in group]) / 2:.3f}")
    return cells, *told


def main() -> int:
    """Simulate the nights; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--worlds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--nights", type=int, default=10, help="per world")
    given = parser.parse_args()
    folder = given.workspace / "results" / "estimates"
    found: dict[str, list[dict]] = {}
    for position, world in enumerate(given.worlds):
        model = None
        for part in ("reference", "quiet", "season"):
            worlds.draw(given.workspace, world, part)
        for number in range(given.nights):
            name = list(NIGHTS)[(position * given.nights + number) % len(NIGHTS)]
            path = folder / f"{world}-{number}-{name.replace(' ', '_')}.json"
            if not path.is_file():
                model = model or estimator_of(given.workspace, world)
                write_json(path, night(given.workspace, world, number, name, model))
            found.setdefault(name, []).append(json.loads(path.read_text()))
        print(f"world {world} done", file=sys.stderr, flush=True)
    columns = ("nights", "number", "true IoU", "bias of the promise", "|error|", "holds")
    table = Table(*columns, "bias of the estimate", "|error|", "interval holds the truth", "its half width")
    every = [one for group in found.values() for one in group]
    for name, group in found.items():
        table.add_row(*row(name, group)[0])
    cells, bias, coverage = row("all", every)
    table.add_row(*cells)
    met = abs(bias) <= 0.03 and coverage >= 0.90
    Console(width=150).print(table)
    print(f"bars: |bias| {abs(bias):.3f} <= 0.03, coverage {coverage:.0%} >= 90 %: {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
