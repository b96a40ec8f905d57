"""How often the gates of a promotion are wrong, and how many blocks they need, by simulation.

    python benchmarks/gates.py [--repetitions N]

A made-up country of labelled ground is divided into square blocks; four scenes, objects of three sizes. Two models
of equal skill err independently of each other, each in patches of about a fifth of a block, so that neighbouring
pixels are wrong together. Skill is known exactly: labels and errors are thresholded Gaussian fields. The gates are the
real ones (`registry.comparison`: the whole, every scene, every size), on the counts of every block.

For each margin the table shows the blocks a verdict needs, and what the gates say at that number and at a quarter of
it: about an equally good model (refused, sent to a person), about one worse by the margin everywhere, and about one
worse by the margin of slices in one scene alone and in one size alone (let in). Bars: at the number of blocks asked
for, an equally good model is refused in at most 5%, one worse by a margin is let in in at most 5%. Below it both hold
as well; what cannot be told goes to a person.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq
from scipy.stats import norm

from satseg.config.operation import PromotionConfig
from satseg.registry.comparison import compared, comparisons
from satseg.stages import Gate

BLOCK = 32  # cells
TRUTH_LENGTH, ERROR_LENGTH, SIZE_LENGTH = 3.0, 1.6, 24.0  # cells, standard deviations of the smoothing
LABELLED, ERRORS = 0.3, 0.08
SCENES, SIZES = 4, ("small", "medium", "large")
MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1)
SIMULATED_FROM = 0.03  # narrower margins need thousands of blocks, hours of simulation: their needs alone are shown
SLICE_FACTOR = 2.0  # margin of slices over that of the whole
BAR = 0.05
COLUMNS = (
    "blocks", "equal: refused", "equal: asked", "equal: let in", "worse: let in", "one scene worse: let in",
    "one size worse: let in", "bar", "met",
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """Fields of one repetition, (rows, columns) of cells, standard normal."""

    truth: np.ndarray
    sizes: np.ndarray
    errors: tuple[np.ndarray, np.ndarray]


def field(random: np.random.Generator, shape: tuple[int, int], length: float) -> np.ndarray:
    """Return white noise smoothed by a Gaussian of this standard deviation, each cell standard normal."""
    across, along = fftfreq(shape[0])[:, None], rfftfreq(shape[1])[None]
    transfer = np.exp(-2 * (math.pi * length) ** 2 * (across**2 + along**2))
    smooth = irfft2(rfft2(random.standard_normal(shape, np.float32)) * transfer, shape)
    whole = np.concatenate([transfer, transfer[:, 1 : (shape[1] + 1) // 2]], axis=1)
    return smooth / math.sqrt(float((whole**2).mean()))


def iou(errors: float) -> float:
    """Return the true IoU of a model with this rate of errors."""
    return LABELLED * (1 - errors) / (LABELLED + (1 - LABELLED) * errors)


def errors_of(score: float) -> float:
    """Return the rate of errors that gives this true IoU."""
    return LABELLED * (1 - score) / (LABELLED + (1 - LABELLED) * score)


def sides(blocks: int) -> tuple[int, int]:
    """Return rows and columns of blocks; rows are dealt out to the scenes."""
    rows = max(SCENES, SCENES * round(math.sqrt(blocks) / SCENES))
    return rows, math.ceil(blocks / rows)


def ground(random: np.random.Generator, blocks: int) -> Ground:
    """Return the fields of a country of so many blocks."""
    shape = tuple(side * BLOCK for side in sides(blocks))
    errors = (field(random, shape, ERROR_LENGTH), field(random, shape, ERROR_LENGTH))
    return Ground(field(random, shape, TRUTH_LENGTH), field(random, shape, SIZE_LENGTH), errors)


def size_of(there: Ground) -> np.ndarray:
    """Return the size class of each cell, a third each."""
    return np.digitize(there.sizes, norm.ppf([1 / 3, 2 / 3]))


def rates(there: Ground, everywhere: float, in_scene: float | None = None, in_size: float | None = None) -> np.ndarray:
    """Return the rate of errors of each cell, perhaps another one in the first scene or size."""
    found = np.full(there.truth.shape, everywhere)
    if in_scene is not None:
        found[: len(found) // SCENES] = in_scene
    if in_size is not None:
        found[size_of(there) == 0] = in_size
    return found


def counts(there: Ground, model: int, rate: np.ndarray) -> pd.DataFrame:
    """Return the table of counts that an evaluation would have stored."""
    labels = there.truth > norm.ppf(1 - LABELLED)
    levels, place_of = np.unique(rate, return_inverse=True)
    wrong = there.errors[model] > norm.ppf(1 - levels)[place_of.reshape(rate.shape)]
    size = size_of(there)
    entries = {"tp": labels & ~wrong, "fp": ~labels & wrong, "fn": labels & wrong, "tn": ~labels & ~wrong}
    rows, columns = (side // BLOCK for side in labels.shape)
    scene = np.arange(rows) * SCENES // rows
    place = pd.DataFrame(
        {
            "scene": np.repeat([f"scene {number}" for number in scene], columns),
            "block": [f"{row}-{column}" for row in range(rows) for column in range(columns)],
            "reference": True,
            "class_id": 1,
        }
    )
    tables = [place.assign(size_bin="all", **{name: summed(found) for name, found in entries.items()})]
    for number, name in enumerate(SIZES):
        here = size == number
        of_size = {entry: summed(entries[entry] & here) if entry in {"tp", "fn"} else 0 for entry in entries}
        tables.append(place.assign(size_bin=name, **of_size))
    return pd.concat(tables, ignore_index=True)


def summed(cells: np.ndarray) -> np.ndarray:
    """Return how many cells are true in each block."""
    rows, columns = (side // BLOCK for side in cells.shape)
    return cells.reshape(rows, BLOCK, columns, BLOCK).sum(axis=(1, 3)).ravel()


def gates(there: Ground, champion: pd.DataFrame, rate: np.ndarray, rules: PromotionConfig, draws: int) -> list[Gate]:
    """Return the gates of a challenger with these errors against the champion's counts."""
    parts = comparisons(counts(there, 0, rate), champion, ("building",), rules.slices)
    return compared(parts, "1", rules, draws)


def outcome(found: Sequence[Gate]) -> str:
    """Return what becomes of the version: refused, asked, or let in."""
    if any(gate.outcome == "failed" for gate in found):
        return "refused"
    return "asked" if any(gate.undecided for gate in found) else "let in"


def asked_for(random: np.random.Generator, rules: PromotionConfig, draws: int) -> tuple[int, dict[str, int]]:
    """Return the blocks that a verdict on everything needs, and those of the whole, of a scene and of a size."""
    pilot = 1600
    needed: dict[str, list[int]] = {"whole": [], "scene": [], "size": []}
    for _ in range(8):
        there = ground(random, pilot)
        champion = counts(there, 1, rates(there, ERRORS))
        for gate in gates(there, champion, rates(there, ERRORS), rules, draws):
            kind = next((kind for kind in ("scene", "size") if f"_{kind}_" in gate.name), "whole")
            needed[kind].append(gate.blocks_needed or 0)
    typical = {kind: math.ceil(np.mean(found)) for kind, found in needed.items()}
    worst = {kind: math.ceil(np.quantile(found, 0.95)) for kind, found in needed.items()}
    return max(worst["whole"], SCENES * worst["scene"], worst["size"]), typical


def simulate(margin: float, blocks: int, repetitions: int, draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Return how often each kind of model meets each fate."""
    rules = PromotionConfig(max_iou_loss=margin, max_slice_loss=SLICE_FACTOR * margin)
    slice_loss = SLICE_FACTOR * margin
    fates: dict[str, list[str]] = {}
    for repetition in range(repetitions):
        there = ground(np.random.default_rng([seed, blocks, repetition]), blocks)
        models = {
            "equal": rates(there, ERRORS),
            "worse": rates(there, errors_of(iou(ERRORS) - margin)),
            "worse scene": rates(there, ERRORS, in_scene=errors_of(iou(ERRORS) - slice_loss)),
            "worse size": rates(there, ERRORS, in_size=ERRORS + slice_loss),  # recall is 1 - errors
        }
        champion = counts(there, 1, models["equal"])
        for name, rate in models.items():
            fates.setdefault(name, []).append(outcome(gates(there, champion, rate, rules, draws)))
    return {
        name: {fate: found.count(fate) / len(found) for fate in ("refused", "asked", "let in")}
        for name, found in fates.items()
    }


def main() -> int:
    """Simulate every margin; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400, help="simulated promotions for each row")
    parser.add_argument("--draws", type=int, default=400, help="bootstrap draws in each")
    parser.add_argument("--all", action="store_true", help="simulate the narrow margins too")
    given = parser.parse_args()
    table = Table(title=f"Gates by simulation, {given.repetitions} promotions a row; fates in percent")
    table.add_column("margin (slices)")
    table.add_column("needs: whole / a scene / a size")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    met = True
    for number, margin in enumerate(MARGINS):
        rules = PromotionConfig(max_iou_loss=margin, max_slice_loss=SLICE_FACTOR * margin)
        asked, typical = asked_for(np.random.default_rng(number), rules, given.draws)
        needs = " / ".join(str(count) for count in typical.values())
        if margin < SIMULATED_FROM and not given.all:
            table.add_row(f"{margin:g} ({SLICE_FACTOR * margin:g})", needs, f"{asked}", *["–"] * 6, "–", "–")
            continue
        for blocks in (max(8, asked // 4), asked):
            found = simulate(margin, blocks, given.repetitions, given.draws, seed=number)
            wrong = [found["equal"]["refused"], *(found[name]["let in"] for name in found if name != "equal")]
            held = max(wrong) <= BAR
            met &= held
            shares = [found["equal"][fate] for fate in ("refused", "asked", "let in")] + wrong[1:]
            rows, columns = sides(blocks)
            table.add_row(
                f"{margin:g} ({SLICE_FACTOR * margin:g})",
                needs if blocks == asked else "a quarter",
                f"{rows * columns}",
                *(f"{100 * share:.1f}" for share in shares),
                f"≤ {100 * BAR:g}",
                "yes" if held else "NO",
            )
            print(f"margin {margin:g}, {rows * columns} blocks: {found}", file=sys.stderr, flush=True)
    Console(width=170).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
