"""`python -m satseg_airflow.containers list|clean`: the containers of stages, and those whose worker is gone."""

import sys

import typer

from satseg.config.settings import settings
from satseg.progress import say
from satseg.storage.layout import Workspace
from satseg_airflow.containers.engine import connected
from satseg_airflow.containers.labels import SCRATCH, STAGE, WORKSPACE, task_of
from satseg_airflow.containers.life import is_alive
from satseg_airflow.containers.orphans import labelled, remove_orphans
from satseg_airflow.containers.place import workspace_source
from satseg_airflow.program import run_program

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Containers of stages on this engine.")


@app.command("list")
def show() -> None:
    """Print the containers of this workspace and whether their worker lives."""
    where = settings()
    with connected(where.docker_url) as engine:
        for container in labelled(engine, {WORKSPACE: workspace_source(where)}):
            labels = container["Labels"]
            living = is_alive(Workspace(where.workspace).scratch / labels[SCRATCH])
            state = "" if living else "  (orphan)"
            print(f"{container['Id'][:12]}  {labels[STAGE]}  {task_of(labels)}  {container['Status']}{state}")


@app.command()
def clean() -> None:
    """Remove the containers of this workspace whose worker is gone."""
    where = settings()
    with connected(where.docker_url) as engine:
        say(f"Removed {remove_orphans(engine, where, say)} containers.")


if __name__ == "__main__":
    sys.exit(run_program(app, "Stopped."))
