"""Who may become champion on real imagery: a champion, a worse and a better challenger, and the way back.

    python benchmarks/kampala_promotion.py [--epochs 4 12 28] [--workspace DIR] [--write docs/benchmarks/…]

Both Kampala scenes, the default split in blocks (192 px of 15 cm, a buffer between). Three versions from one seed:
trained as the champion, hardly trained, and trained on from the champion. They are promoted one after the other in the
shell, and once more by the DAG `model_promotion` of a real Airflow through its REST API. Checked: who is champion after
each step, exit codes, and what the audit log says. Exit code 1 when a step ends otherwise.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from kampala_scenes import HALVED_GSD_M, Part, Satseg, cut, scenes_folder
from kampala_training import write
from rich.console import Console
from rich.table import Table

from satseg.config.settings import settings
from satseg.registry.audit import entries
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version
from satseg_airflow.embedded.airflow import running_airflow
from satseg_airflow.embedded.environment import Home
from satseg_airflow.rest import AirflowApi

PROJECT = "kampala"
DAG = f"{PROJECT}.model_promotion"
REFUSED = 4
WITHIN_S = 900
HEADERS = ("way", "step", "IoU of the version (95%)", "champion before", "after", "expected", "audit log", "met")


@dataclass(frozen=True)
class Step:
    """One decision that is asked for, and what must come of it."""

    name: str
    version: str  # "" for a rollback
    champion: str  # afterwards
    action: str  # in the audit log


STEPS = (
    Step("first champion", "1", "1", "promoted"),
    Step("under-trained challenger", "2", "1", "refused"),
    Step("better challenger", "3", "3", "promoted"),
    Step("rollback", "", "1", "rolled_back"),
)


def project(epochs: int) -> dict:
    """Return the project file: that of the demo, with the scenes' own half resolution."""
    return {
        "name": PROJECT,
        "classes": ["building"],
        "gsd_m": HALVED_GSD_M,
        "patches": {"size_px": 192, "stride_px": 64, "block_px": 192},
        "training": {"backbone": "resnet18", "epochs": epochs, "steps_per_epoch": 40},
    }


def versions(satseg: Satseg, given: argparse.Namespace, kept: Path) -> dict[str, dict]:
    """Train, evaluate and register the three versions, or find them from a run before; version → evaluation."""
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    satseg("ingest", str(satseg.workspace.parent / "scenes"))
    patch_set = satseg("patch")["patch_set"]
    few, many, more = given.epochs
    found, first = {}, ""
    for number, epochs in enumerate((many, few, more), start=1):
        start = ["--init-from", first] if epochs == more else []
        words = ["--set", f"training.epochs={epochs}", *start]
        run_id = satseg("train", "--patch-set", patch_set, *words)["run_id"]
        first = first or run_id
        found[str(number)] = satseg("evaluate", run_id)
        if satseg("register", run_id)["version"] != str(number):
            sys.exit(f"{satseg.workspace}: there are versions in it already. Give an empty --workspace.")
    kept.write_text(json.dumps(found))
    return found


def in_the_shell(satseg: Satseg, step: Step) -> None:
    """Promote or roll back as a person with a shell does."""
    words = ["promote", step.version] if step.version else ["rollback", "--reason", "back to what was known"]
    command = [sys.executable, "-m", "satseg", *words, "--project", str(satseg.project_file)]
    environment = os.environ | {"SATSEG_WORKSPACE": str(satseg.workspace)}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != (REFUSED if step.action == "refused" else 0):
        sys.exit(f"satseg {' '.join(words)} ended with exit code {code}")


def in_airflow(api: AirflowApi, step: Step) -> None:
    """Trigger the promotion DAG and wait for its end."""
    run_id = f"{step.name.replace(' ', '-')}-{time.time():.0f}"
    conf = {"version": step.version} if step.version else {"action": "rollback", "reason": "back to what was known"}
    api.trigger(DAG, run_id, conf)
    deadline = time.monotonic() + WITHIN_S
    while (run := api.run(DAG, run_id)) is None or run["state"] not in {"success", "failed"}:
        if time.monotonic() > deadline:
            sys.exit(f"{DAG} {run_id} did not end within {WITHIN_S} s")
        time.sleep(3)
    if run["state"] != "success":
        sys.exit(f"{DAG} {run_id} failed: {api.tasks(DAG, run_id)}")


def rows(satseg: Satseg, evaluations: dict[str, dict]) -> Iterator[tuple[str, ...]]:
    """Take every step both ways and yield a row for each."""
    settings.cache_clear()
    workspace = Workspace(satseg.workspace)
    for step in STEPS:
        yield taken("shell", step, workspace, evaluations, lambda step=step: in_the_shell(satseg, step))
    with running_airflow(Home(workspace, satseg.project_file.parent), print) as airflow, airflow.api() as api:
        deadline = time.monotonic() + WITHIN_S
        while DAG not in api.dag_ids(PROJECT):
            if time.monotonic() > deadline:
                sys.exit(f"{DAG} did not appear: {api.import_errors()}")
            time.sleep(2)
        api.pause(DAG, paused=False)
        for step in STEPS[1:]:
            yield taken("Airflow", step, workspace, evaluations, lambda step=step: in_airflow(api, step))


def taken(
    way: str, step: Step, workspace: Workspace, evaluations: dict[str, dict], take: Callable[[], None]
) -> tuple[str, ...]:
    """Take a step and compare the registry and the audit log with what must come of it."""
    before = alias_version(workspace, PROJECT, "champion")
    take()
    after, last = alias_version(workspace, PROJECT, "champion"), entries(workspace.audit_log(PROJECT))[-1]
    met = after == step.champion and last.action == step.action
    said = f"{last.action} by {last.who}: {last.reason}"
    return (
        way, step.name, score(evaluations.get(step.version)), f"{before or 'none'}", f"{after}", step.champion,
        said if len(said) < 300 else f"{said[:300]} …", "yes" if met else "NO",
    )  # fmt: skip


def score(evaluation: dict | None) -> str:
    """Return the IoU with its interval."""
    if evaluation is None:
        return ""
    interval = (evaluation.get("intervals") or {}).get("iou") or {}
    between = f" ({interval['low']:.3f} to {interval['high']:.3f})" if interval.get("low") is not None else ""
    return f"v{evaluation.get('version', '')} {evaluation['iou']:.3f}{between}".replace("v ", "")


def main() -> int:
    """Make the versions and decide about them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--epochs", type=int, nargs=3, default=[2, 12, 28], metavar=("FEW", "MANY", "MORE"),
        help="of the under-trained challenger, of the champion, and of the better one after the champion's",
    )  # fmt: skip
    parser.add_argument("--workspace", type=Path, help="an empty folder to work in; default: a temporary one")
    parser.add_argument("--write", type=Path, help="also write the table as Markdown")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="satseg-promotion-") as temporary:
        folder = (given.workspace or Path(temporary)).resolve()
        (folder / "projects").mkdir(parents=True, exist_ok=True)
        file = folder / "projects" / f"{PROJECT}.yaml"
        file.write_text(yaml.safe_dump(project(given.epochs[1])))
        if not (folder / "scenes").is_dir():
            cut(scenes_folder(), [Part("ggaba_a"), Part("ggaba_b")], folder / "scenes")
        satseg = Satseg(folder / "workspace", file)
        table = list(rows(satseg, versions(satseg, given, folder / "versions.json")))
    drawn = Table(*HEADERS, title="Promotions on Kampala")
    for row in table:
        drawn.add_row(*row)
    Console(width=200).print(drawn)
    if given.write:
        write(given.write, HEADERS, table)
    return 1 if any(row[-1] == "NO" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
