"""`python -m satseg_airflow.embedded up|down|status`: Airflow and MLflow for people, kept running."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from satseg.config.settings import settings
from satseg.errors import ExitCode
from satseg.progress import say
from satseg.storage.atomic import exclusive, write_json
from satseg.storage.layout import Workspace
from satseg_airflow.embedded.airflow import EmbeddedAirflow, remove_leftovers
from satseg_airflow.embedded.environment import Home
from satseg_airflow.embedded.mlflow_server import start_mlflow
from satseg_airflow.embedded.processes import Started, marked, stop
from satseg_airflow.program import run_program

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="Default: SATSEG_WORKSPACE, or ./workspace.")
]
app = typer.Typer(add_completion=False, no_args_is_help=True, help="Airflow and MLflow on this machine.")


def _home(workspace: Path | None) -> Home:
    return Home(Workspace(workspace or settings().workspace))


def _state(home: Home) -> dict[str, Any] | None:
    """Return what `up` wrote, None when nothing of it runs any more (the machine was restarted, say)."""
    if not home.state_file.is_file() or not marked(home.folder):
        return None
    state: dict[str, Any] = json.loads(home.state_file.read_text(encoding="utf-8"))
    return state


@app.command()
def up(workspace: WorkspaceOption = None) -> None:
    """Start Airflow and MLflow in the background and print where they are."""
    home = _home(workspace)
    with exclusive(home.workspace.lock("airflow"), "The embedded Airflow", timeout_s=1):
        if state := _state(home):
            say("It runs already.")
            _show(home, state)
            return
        airflow = EmbeddedAirflow(home, tied=False)
        try:
            airflow.start(say)
            mlflow_url = settings().mlflow_uri or start_mlflow(airflow, say)
        except BaseException:  # Ctrl-C too: nothing may stay behind half-started
            airflow.stop()
            raise
        state = {
            "airflow": airflow.url,
            "mlflow": mlflow_url,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "processes": [asdict(process) for process in airflow.started],
        }
        write_json(home.state_file, state)
    _show(home, state)


@app.command()
def down(workspace: WorkspaceOption = None) -> None:
    """Stop what `up` started."""
    home = _home(workspace)
    if not marked(home.folder):
        home.state_file.unlink(missing_ok=True)
        say(f"Nothing runs in {home.workspace.root}.")
        return
    state = _state(home) or {"processes": []}
    say("Stopping Airflow and MLflow ...")
    stop([Started(**process) for process in state["processes"]], home.folder)
    home.state_file.unlink(missing_ok=True)
    remove_leftovers(home)
    say("Stopped.")


@app.command()
def status(workspace: WorkspaceOption = None) -> None:
    """Say what runs and where; exit code 4 when nothing does."""
    home = _home(workspace)
    if state := _state(home):
        _show(home, state)
        return
    say(f"Nothing runs in {home.workspace.root}.")
    raise typer.Exit(int(ExitCode.DECIDED_AGAINST))


def _show(home: Home, state: dict[str, Any]) -> None:
    print(f"Airflow  {state['airflow']}   user admin, password {home.passwords()['admin']}")
    print(f"         user user (starts work, promotes nothing), password {home.passwords().get('user')}")
    print(f"         user viewer (only reads), password {home.passwords()['viewer']}")
    print(f"MLflow   {state['mlflow']}")
    print(f"Logs     {home.logs}")
    print("Stop     make down")


if __name__ == "__main__":
    sys.exit(run_program(app, "Stopped; nothing was left running."))
