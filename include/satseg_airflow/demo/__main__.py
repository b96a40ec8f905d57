"""`python -m satseg_airflow.demo`: the whole loop on made-up or your own scenes, in one command."""

import contextlib
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from satseg.config.project import load_project
from satseg.config.settings import settings
from satseg.progress import say
from satseg.storage.atomic import write_json
from satseg_airflow.demo.chain import Demo
from satseg_airflow.demo.plan import DemoPlan, free_workspace, own_scenes_plan, synthetic_plan
from satseg_airflow.demo.screen import screen_for
from satseg_airflow.demo.summary import summary
from satseg_airflow.embedded.__main__ import up
from satseg_airflow.embedded.airflow import running_airflow
from satseg_airflow.embedded.environment import Home
from satseg_airflow.embedded.processes import STOP_SIGNALS
from satseg_airflow.program import run_program

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    scenes: Annotated[Path | None, typer.Option(help="Folder with your scenes and labels; only read.")] = None,
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="Default: SATSEG_WORKSPACE.")] = None,
    project: Annotated[str, typer.Option("--project", "-p", help="Project file to use.")] = "buildings",
    keep: Annotated[bool, typer.Option("--keep", help="Leave Airflow and MLflow running, as `make up` does.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer, smaller scenes: does it run at all?")] = False,
) -> None:
    """Watch scenes become a promoted model, maps, a drift alarm and a retraining, all run by a real Airflow.

    Nothing of yours is changed: a workspace that holds data already gets a folder demo-2, demo-3, … inside.
    """
    load_project(project, settings().projects_dir)
    wanted = workspace or settings().workspace
    plan = _plan(wanted, project, scenes, fast)
    if plan.workspace.root != wanted.resolve():
        say(f"{wanted} holds data already; this demo works in {plan.workspace.root}.")
    run(plan, Console(stderr=True))
    if keep:
        up(plan.workspace.root)


def _plan(wanted: Path, project: str, scenes: Path | None, fast: bool) -> DemoPlan:
    workspace = free_workspace(wanted, project)
    if scenes is not None:
        return own_scenes_plan(workspace, project, scenes)
    return synthetic_plan(workspace, project, **({"count": 4, "size_px": 512} if fast else {}))


def run(plan: DemoPlan, console: Console) -> None:
    """Run the plan and print its summary; whatever happens, no process is left."""
    begin = time.monotonic()
    screen = screen_for(console)
    home = Home(plan.workspace, plan.projects_dir)
    with _signals_stop(), running_airflow(home, screen.say) as airflow, screen.live():
        screen.say(f"Airflow is healthy at {airflow.url}.")
        outcome = Demo(plan, airflow, screen).run()
        screen.say("Done. Stopping Airflow ...")
    minutes = (time.monotonic() - begin) / 60
    write_json(plan.outcome_file, {"minutes": round(minutes, 2), **dataclasses.asdict(outcome)})
    Console().print(summary(plan, outcome, minutes))
    item = outcome.predictions[0]["item"]
    print(f"""
Look at it in the browser:  make up WORKSPACE={shlex.quote(str(plan.workspace.root))}
  Airflow  http://127.0.0.1:8080   user admin, password {home.passwords()["admin"]}
  MLflow   http://127.0.0.1:5000   (the next free port where one is taken; `make up` prints them)
Where a map comes from:     {_lineage_command(plan, item)}""")


def _lineage_command(plan: DemoPlan, item: str) -> str:
    where = f"SATSEG_WORKSPACE={shlex.quote(str(plan.workspace.root))}"
    return f"{where} {shlex.join([str(_beside_python('satseg')), 'lineage', item])}"


def _beside_python(program: str) -> Path:
    """Return a program of this environment, relative to the working directory where it lies below."""
    path = Path(sys.executable).parent / program
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextlib.contextmanager
def _signals_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does; once it is ending, further signals wait."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        say("Stopping: ending Airflow and everything it started ...")
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(run_program(app, "Stopped. No process is left; what was made so far stays in the workspace."))
