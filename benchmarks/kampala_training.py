"""Three architectures trained from scratch on real imagery, tested on parts of the ground they never saw.

    python benchmarks/kampala_training.py [--epochs 12] [--seeds 0 1 2] [--architectures linknet unet manet]
                                          [--protocols strip across] [--backbone resnet18] [--set KEY=VALUE]
                                          [--workspace DIR] [--write docs/benchmarks/kampala_training.md]

Protocol `strip`: train on ggaba_b and on ggaba_a west of column 1792, test on ggaba_a east of column 2048 (19 m lie
between). Protocol `across`: train on ggaba_a, test on ggaba_b, half a kilometre away. The epoch is chosen on validation
blocks of the training area; the test area is looked at once, at the end. Scenes are halved to 15 cm. The map that says
"roof" everywhere stands beside. Bars: median over the seeds of the best architecture at least 0.60 and 0.70, and no
training longer than 15 minutes on two cores. Epochs end a training, not the clock, so that a busy machine changes
nothing in what is learnt; minutes are the processor time of the training divided by the two cores it may use, with the
wall clock beside. With --workspace a benchmark that was stopped goes on where it stopped.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from kampala_scenes import HALVED_GSD_M, Part, Satseg, Score, cut, scenes_folder, score
from rich.console import Console
from rich.table import Table

ARCHITECTURES = ("linknet", "unet", "manet")
CORES, MOST_MINUTES = 2, 15


@dataclass(frozen=True)
class Protocol:
    """Where to learn, where to measure, and the least median IoU of the best architecture."""

    train: tuple[Part, ...]
    test: Part
    least: float


PROTOCOLS = {
    "strip": Protocol((Part("ggaba_b"), Part("ggaba_a", end_col=1792)), Part("ggaba_a", first_col=2048), 0.60),
    "across": Protocol((Part("ggaba_a"),), Part("ggaba_b"), 0.70),
}


@dataclass(frozen=True)
class Outcome:
    """One training and its score."""

    protocol: str
    architecture: str
    seed: int
    score: Score
    flipped: float  # IoU when the mean over mirrored windows is predicted
    minutes: float  # processor time on two cores
    wall_minutes: float


def project(name: str, given: argparse.Namespace) -> dict:
    """Return the project file of a protocol."""
    return {
        "name": name,
        "classes": ["building"],
        "gsd_m": HALVED_GSD_M,
        "patches": {"size_px": 192, "stride_px": 64, "block_px": 192, "val_fraction": 0.2, "test_fraction": 0.0},
        "training": {
            "backbone": given.backbone,
            "epochs": given.epochs,
            "steps_per_epoch": 40,
        },
    }


def measure(name: str, given: argparse.Namespace, folder: Path) -> list[Outcome]:
    """Train and test every architecture with every seed."""
    protocol, data, work = PROTOCOLS[name], scenes_folder(), folder / name
    cut(data, protocol.train, work / "train")
    (test,) = cut(data, [protocol.test], work / "test")
    file = work / f"{name}.yaml"
    file.write_text(yaml.safe_dump(project(name, given)))
    satseg = Satseg(work / "workspace", file)
    satseg("ingest", str(work / "train"))
    patch_set = satseg("patch")["patch_set"]
    outcomes = []
    for seed in given.seeds:
        for architecture in given.architectures:
            settings = [f"training.architecture={architecture}", f"training.seed={seed}", *given.settings]
            kept = work / "outcomes" / f"{'-'.join([given.backbone, str(given.epochs), *settings])}.json"
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(json.dumps(_learn(satseg, patch_set, settings, data, protocol.test.scene, test)))
            outcome = Outcome(name, architecture, seed, *_read(kept))
            outcomes.append(outcome)
            print(
                f"{name} {architecture} seed {seed}: IoU {outcome.score.iou:.3f} after {outcome.minutes:.1f} min",
                file=sys.stderr,
            )
    return outcomes


def _learn(  # noqa: PLR0917
    satseg: Satseg, patch_set: str, settings: list[str], data: Path, scene: str, test: Path
) -> dict[str, float]:
    words = [word for setting in settings for word in ("--set", setting)]
    start, before = time.monotonic(), _processor_s()
    run_id = satseg("train", "--patch-set", patch_set, *words)["run_id"]
    wall, processor = time.monotonic() - start, _processor_s() - before
    found = score(data, scene, satseg.predict(run_id, test, settings))
    flipped = score(data, scene, satseg.predict(run_id, test, [*settings, "inference.test_time=flips"])).iou
    return {**asdict(found), "flipped": flipped, "minutes": processor / CORES / 60, "wall_minutes": wall / 60}


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read(kept: Path) -> tuple[Score, float, float, float]:
    found = json.loads(kept.read_text())
    return Score(found["iou"], found["all_positive"]), found["flipped"], found["minutes"], found["wall_minutes"]


def rows(outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    """Return a row per protocol and architecture: IoU by seed, medians, all-positive map, minutes, bar, met."""
    found = []
    for name in dict.fromkeys(outcome.protocol for outcome in outcomes):
        of_protocol = [outcome for outcome in outcomes if outcome.protocol == name]
        medians = {
            architecture: statistics.median(one.score.iou for one in of_protocol if one.architecture == architecture)
            for architecture in dict.fromkeys(outcome.architecture for outcome in of_protocol)
        }
        best = max(medians, key=lambda architecture: medians[architecture])
        for architecture, median in medians.items():
            of_architecture = [one for one in of_protocol if one.architecture == architecture]
            bar = f"≥ {PROTOCOLS[name].least:.2f}" if architecture == best else ""
            met = ("yes" if median >= PROTOCOLS[name].least else "NO") if architecture == best else ""
            ious = " ".join(f"{one.score.iou:.3f}" for one in of_architecture)
            flipped = f"{statistics.median(one.flipped for one in of_architecture):.3f}"
            trivial = f"{of_architecture[0].score.all_positive:.3f}"
            longest = max(one.minutes for one in of_architecture)
            minutes = f"{longest:.1f} ({max(one.wall_minutes for one in of_architecture):.1f})"
            if longest > MOST_MINUTES:
                met = "NO"
            found.append((name, architecture, ious, f"{median:.3f}", flipped, trivial, minutes, bar, met))
    return found


HEADERS = (
    "protocol", "architecture", "IoU by seed", "median", "median with flips", "all-positive map", "longest min (wall)",
    "bar", "met",
)  # fmt: skip


def write(path: Path, headers: tuple[str, ...], table: list[tuple[str, ...]]) -> None:
    """Write the table with how it was made."""
    lines = ["| " + " | ".join(row) + " |" for row in (headers, ("---",) * len(headers), *table)]
    command = f"    python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}"
    machine = f"{datetime.now(UTC).date()}, 2 cores, 24 GiB, no GPU."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"# {Path(sys.argv[0]).stem}", "", machine, "", command, "", *lines, ""]))


def main() -> int:
    """Run the protocols; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="of 40 steps of 8 windows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--protocols", nargs="+", choices=tuple(PROTOCOLS), default=tuple(PROTOCOLS))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workspace", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--write", type=Path, help="also write the table as Markdown")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="satseg-kampala-") as temporary:
        folder = (given.workspace or Path(temporary)).resolve()
        table = rows([outcome for name in given.protocols for outcome in measure(name, given, folder)])
    drawn = Table(*HEADERS, title="From scratch on Kampala")
    for row in table:
        drawn.add_row(*row)
    Console(width=140).print(drawn)
    if given.write:
        write(given.write, HEADERS, table)
    return 1 if any(row[-1] == "NO" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
