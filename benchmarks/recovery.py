"""Does retraining help? A model of summer towns meets another season, and is trained again with a few labelled scenes.

    python benchmarks/recovery.py --workspace DIR [--season autumn] [--seeds 3] [--small]

The commands that the DAGs run, one after the other: ingest, patch, train, promote; the new season arrives, ingest,
patch, train from the champion with replay, evaluate both, `drift evidence`. Measured on towns that nobody trained on,
drawn once in summer and once in the new season: what the champion loses there, how much of it the retrained model wins
back, and what it loses in summer. `--small` is the size of the end-to-end test. A part that is done is not done again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
LEAST_RECOVERED, MOST_FORGOTTEN = 0.80, 0.02
# prefix, split, towns at full and small size, number of the towns' draw, whether in the new season
SETS = (
    ("summer", "train", 10, 5, 1, False),
    ("summerval", "val", 3, 1, 2, False),
    ("summertest", "test", 6, 3, 3, False),
    ("later", "train", 5, 3, 4, True),
    ("laterval", "val", 2, 1, 5, True),
    ("latertest", "test", 6, 3, 3, True),  # the towns of summertest
)
PROJECT = """
name: towns
classes: [building]
gsd_m: 0.15
patches: {{size_px: 128, stride_px: 64, block_px: 128, split_by: column, split_file: splits.csv}}
training: {{backbone: resnet18, epochs: {epochs}, steps_per_epoch: {steps}, batch_size: 8, seed: {seed}}}
retraining: {{epochs: {again}, learning_rate: 0.0005}}
promotion: {{min_iou: 0.0, margin_over_all_positive: -1.0}}
evaluation: {{threshold_windows: 0}}
inference: {{window_px: 256}}
drift: {{patch_px: 64, confirm: {{nights: 1, of: 1}}, quiet_nights: 1, predictions: false}}
"""


@dataclass(frozen=True)
class Size:
    """How much is drawn and trained."""

    small: bool

    @property
    def size_px(self) -> int:
        """Side of a town."""
        return 384 if self.small else 640

    def project(self, seed: int) -> str:
        """Return the project file."""
        epochs, steps, again = (8, 20, 5) if self.small else (24, 40, 12)
        return PROJECT.format(epochs=epochs, steps=steps, again=again, seed=seed)


class World:
    """A workspace, its project file and its towns."""

    def __init__(self, folder: Path, size: Size, season: str, seed: int) -> None:
        self.folder, self._size, self._season, self._seed = folder, size, season, seed
        self.workspace, self.project = folder / "workspace", folder / "towns.yaml"
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.project.write_text(size.project(seed))
        rows = [
            f"{name}_{k},{split}" for name, split, full, few, *_ in SETS for k in range(few if size.small else full)
        ]
        (self.workspace / "splits.csv").write_text("\n".join(["scene,split", *rows]) + "\n")

    def draw(self) -> None:
        """Draw all towns: the first six months in `first`, the new season in `later`."""
        for name, _, full, few, draw, later in SETS:
            count, seed = few if self._size.small else full, 100 * self._seed + draw
            season = self._season if later else "summer"
            words = [
                "--count",
                count,
                "--size",
                self._size.size_px,
                "--seed",
                seed,
                "--season",
                season,
                "--prefix",
                name,
            ]
            self._run("demo-scenes", self.folder / ("later" if later else "first") / name, *words)

    def satseg(self, *words: object) -> dict:
        """Run a command in the workspace and return its result."""
        return json.loads(self._run(*words, "--project", self.project, "--json").splitlines()[-1])

    def _run(self, *words: object) -> str:
        environment = os.environ | {"SATSEG_WORKSPACE": str(self.workspace)}
        command = [sys.executable, "-m", "satseg", *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in {0, 4}:
            raise SystemExit(f"`satseg {' '.join(map(str, words))}` ended with exit code {done.returncode}")
        return done.stdout


def recover(world: World) -> dict:
    """Return what `satseg drift evidence` says after a season change and a retraining."""
    kept = world.folder / "evidence.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    world.draw()
    world.satseg("ingest", world.folder / "first")
    world.satseg("patch")
    first = world.satseg("train")["run_id"]
    world.satseg("evaluate", first)
    version = world.satseg("register", first)["version"]
    world.satseg("promote", version)
    world.satseg("ingest", world.folder / "later")
    patch_set = world.satseg("patch")["patch_set"]
    again = world.satseg("train", "--patch-set", patch_set, "--init-from", "champion")["run_id"]
    for run in (again, first):
        world.satseg("evaluate", run, "--patch-set", patch_set)
    found = world.satseg("drift", "evidence", again, "--champion", first, "--patch-set", patch_set)
    kept.write_text(json.dumps(found))
    return found


def figures(evidence: dict) -> dict[str, float]:
    """Return what was lost, which part of it was won back, and what was forgotten."""
    old, new = evidence["old"], evidence["new"]
    lost = old["champion"] - new["champion"]
    return {
        "summer before": old["champion"],
        "new season before": new["champion"],
        "new season after": new["retrained"],
        "summer after": old["retrained"],
        "lost": lost,
        "recovered": (new["retrained"] - new["champion"]) / lost if lost > 0 else float("nan"),
        "forgotten": old["champion"] - old["retrained"],
    }


def main() -> int:
    """Run all seeds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="where the towns and models are kept")
    parser.add_argument("--season", default="autumn", choices=["autumn", "winter", "dry"])
    parser.add_argument("--seeds", type=int, default=3, help="how many worlds")
    parser.add_argument("--small", action="store_true", help="small towns, short trainings")
    given = parser.parse_args()
    table = Table(title=f"Test IoU when summer turns into {given.season}")
    rows = []
    for seed in range(given.seeds):
        name = f"{given.season}-{'small' if given.small else 'full'}-{seed}"
        rows.append(figures(recover(World(given.workspace / name, Size(given.small), given.season, seed))))
    for column in ("world", *rows[0]):
        table.add_column(column)
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for name, row in [*((str(seed), row) for seed, row in enumerate(rows)), ("median", median)]:
        table.add_row(name, *(f"{value:.3f}" for value in row.values()))
    met = median["recovered"] >= LEAST_RECOVERED and median["forgotten"] < MOST_FORGOTTEN
    console = Console(width=140)
    console.print(table)
    console.print(
        f"recovered {median['recovered']:.0%} (bar ≥ {LEAST_RECOVERED:.0%}), "
        f"forgotten {median['forgotten']:+.3f} (bar < {MOST_FORGOTTEN}): met {'yes' if met else 'NO'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
