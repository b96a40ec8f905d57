"""How far the label-free estimate of the IoU is from the truth, over simulated nights.

    python benchmarks/drift_estimate.py --workspace DIR [--nights 50] [--scenes 4]

A pixel classifier (gradient boosting on colour and its surroundings) learns roofs on 12 generated towns and is
calibrated on 12 others, as `satseg drift concept` calibrates a champion on its test blocks. Nights of other towns
follow: quiet ones, and ones with haze, other gain, noise, blur, another season. The labels are known, so bias and
coverage of the estimate's interval can be counted. No bar.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier

from satseg.datasets.demo_changes import Change, Look
from satseg.datasets.demo_render import render
from satseg.datasets.demo_towns import plan_town
from satseg.drift.concept import calibration_curve, expected_counts
from satseg.evaluation.intervals import block_bootstrap, iou
from satseg.storage.atomic import write_json

SIZE_PX, GSD_M, BLOCK_PX, BINS, SEED = 256, 0.3, 64, 20, 99
LOOKS = {
    "quiet": Look(),
    "haze 0.15": Look(change=Change(haze=0.15)),
    "gain 0.9": Look(change=Change(gain=0.9)),
    "noise 6 DN": Look(change=Change(noise_dn=6)),
    "blur 1.5 px": Look(change=Change(blur_px=1.5)),
    "autumn": Look(season="autumn"),
}


def drawn(scene: int, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Return features (H, W, F) and roofs (H, W) of a town."""
    picture = render(plan_town(SEED, scene, SIZE_PX * GSD_M), SIZE_PX, GSD_M, (SEED, scene), look)
    image = picture.pixels.astype(np.float32)
    around = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (1.5, 4.0)]
    rough = cv2.GaussianBlur((image - around[0]) ** 2, (0, 0), 3.0)
    return np.concatenate([image, *around, rough], axis=2), picture.roofs > 0


def counts(chances: np.ndarray, roofs: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true and expected TP, FP, FN, TN of the blocks of a scene, (B, 4) each."""
    true, expected = [], []
    calibrated = curve[np.minimum((chances * BINS).astype(int), BINS - 1)]
    for row in range(0, SIZE_PX, BLOCK_PX):
        for col in range(0, SIZE_PX, BLOCK_PX):
            part = (slice(row, row + BLOCK_PX), slice(col, col + BLOCK_PX))
            found, truth = chances[part].ravel() >= 0.5, roofs[part].ravel()
            true.append(
                [(found & truth).sum(), (found & ~truth).sum(), (~found & truth).sum(), (~found & ~truth).sum()]
            )
            expected.append(expected_counts(calibrated[part].ravel(), found))
    return np.array(true, float), np.array(expected)


def learned() -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    """Return the classifier and its calibration curve."""
    rng = np.random.default_rng(0)
    towns = [drawn(k, Look()) for k in range(24)]
    rows = [rng.choice(SIZE_PX**2, 5000, replace=False) for _ in range(12)]
    values = np.concatenate([town[0].reshape(-1, 12)[row] for town, row in zip(towns[:12], rows, strict=True)])
    truth = np.concatenate([town[1].ravel()[row] for town, row in zip(towns[:12], rows, strict=True)])
    classifier = HistGradientBoostingClassifier(max_iter=120, random_state=0).fit(values, truth)
    chances = np.concatenate([classifier.predict_proba(town[0].reshape(-1, 12))[:, 1] for town in towns[12:]])
    roofs = np.concatenate([town[1].ravel() for town in towns[12:]])
    place = np.minimum((chances * BINS).astype(int), BINS - 1)
    bins = [
        (float((place == one).sum()), float(chances[place == one].sum()), float(roofs[place == one].sum()))
        for one in range(BINS)
    ]
    return classifier, calibration_curve(bins)


def night(number: int, look: Look, scenes: int, model: tuple[HistGradientBoostingClassifier, np.ndarray]) -> dict:
    """Return true and estimated IoU of a night's scenes."""
    parts = []
    for k in range(scenes):
        values, roofs = drawn(1000 + 100 * number + k, look)
        chances = model[0].predict_proba(values.reshape(-1, 12))[:, 1].reshape(roofs.shape)
        parts.append(counts(chances, roofs, model[1]))
    true, expected = (np.concatenate(side) for side in zip(*parts, strict=True))
    estimate = block_bootstrap(expected, iou)
    truth = float(iou(true.sum(axis=0, keepdims=True))[0])
    return {"truth": truth, "estimate": estimate.value, "low": estimate.low, "high": estimate.high}


def main() -> int:
    """Simulate the nights; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--nights", type=int, default=50)
    parser.add_argument("--scenes", type=int, default=4)
    given = parser.parse_args()
    folder = given.workspace / "results" / f"estimate-{given.scenes}"
    folder.mkdir(parents=True, exist_ok=True)
    model = None
    names = [list(LOOKS)[number % len(LOOKS)] for number in range(given.nights)]
    found: dict[str, list[dict]] = {}
    for number, name in enumerate(names):
        path = folder / f"{number:03d}.json"
        if not path.is_file():
            model = model or learned()
            write_json(path, night(number, LOOKS[name], given.scenes, model))
        found.setdefault(name, []).append(json.loads(path.read_text()))
    table = Table("nights", "number", "true IoU", "bias of the estimate", "mean |error|", "interval holds the truth")
    every = [one for group in found.values() for one in group]
    for name, group in [*found.items(), ("all", every)]:
        error = np.array([one["estimate"] - one["truth"] for one in group])
        holds = np.mean([one["low"] <= one["truth"] <= one["high"] for one in group])
        truth = np.mean([one["truth"] for one in group])
        table.add_row(
            name, str(len(group)), f"{truth:.3f}", f"{error.mean():+.3f}", f"{np.abs(error).mean():.3f}", f"{holds:.0%}"
        )
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
