"""The whole loop as a user starts it (`make demo`): time and quality beside the all-positive map.

    python benchmarks/loop.py [--scenes DIR] [--workspace DIR]

Runs the demo on made-up towns, then on real imagery (`$SHARED_DATA`/kampala, default ../shared/data; skipped with a
line where it is missing). Bars, on 2 cores, after installation: made-up towns in at most 10 minutes, real imagery in
at most 15 with a test IoU at least 0.20 above that of the map that says "building" everywhere, on the same blocks.
Both: a quiet night starts no retraining, a hazy night does, and its model is promoted or refused.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
MARGIN = 0.20


@dataclass(frozen=True)
class Case:
    """One demo and its bars."""

    name: str
    scenes: Path | None
    most_minutes: float
    least_margin: float


def run_demo(case: Case, workspace: Path) -> dict | None:
    """Run the demo; returns what its stages returned, None when it failed."""
    command = [sys.executable, "-m", "satseg_airflow.demo", "--workspace", str(workspace)]
    command += ["--scenes", str(case.scenes)] if case.scenes else []
    with (workspace.parent / f"{workspace.name}.log").open("w") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
    outcome = workspace / "demo" / "outcome.json"
    if code or not outcome.is_file():
        print(f"{case.name}: the demo ended with exit code {code}. Its last lines:", file=sys.stderr)
        print("".join(Path(log.name).read_text().splitlines(keepends=True)[-15:]), file=sys.stderr)
        return None
    return json.loads(outcome.read_text())


def judge(case: Case, outcome: dict, table: Table) -> bool:
    """Add a row per bar; returns whether all are met."""
    iou, trivial = outcome["evaluation"]["iou"], outcome["evaluation"]["iou_all_positive"]
    rows = (
        ("minutes", f"{outcome['minutes']:.1f}", f"≤ {case.most_minutes:g}", outcome["minutes"] <= case.most_minutes),
        (
            f"test IoU {iou:.3f} − all-positive map {trivial:.3f}",
            f"{iou - trivial:+.3f}",
            f"≥ {case.least_margin:+.2f}",
            iou - trivial >= case.least_margin,
        ),
        ("quiet night", outcome["quiet"]["verdict"], "no drift", outcome["quiet"]["verdict"] == "no drift"),
        ("hazy night", outcome["drifted"]["verdict"], "drift", outcome["drifted"]["verdict"] == "drift"),
        (
            "retrained model",
            outcome["challenger"]["decision"],
            "decided",
            outcome["challenger"]["decision"] in {"promoted", "refused"},
        ),
    )
    for what, value, bar, met in rows:
        table.add_row(case.name, what, value, bar, "yes" if met else "NO")
    return all(met for *_, met in rows)


def main() -> int:
    """Run all cases; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--scenes", type=Path, default=shared / "kampala", help="real imagery with labels")
    parser.add_argument("--workspace", type=Path, help="where the demos work; default: a temporary folder")
    given = parser.parse_args()
    cases = [Case("made-up towns", None, 10, MARGIN)]
    if given.scenes.is_dir():
        cases.append(Case(given.scenes.name, given.scenes, 15, MARGIN))
    else:
        print(f"{given.scenes}: no such folder, so there is no case with real imagery.", file=sys.stderr)
    table = Table("case", "what", "value", "bar", "met", title="The whole loop through a real Airflow")
    met = True
    with tempfile.TemporaryDirectory(prefix="satseg-loop-") as temporary:
        for case in cases:
            workspace = (given.workspace or Path(temporary)) / case.name.replace(" ", "-")
            workspace.parent.mkdir(parents=True, exist_ok=True)
            outcome = run_demo(case, workspace)
            met = outcome is not None and judge(case, outcome, table) and met
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
