"""Commands of the training room."""

from typing import Annotated

import typer

from satseg.cli.app import (
    ForceOption,
    JsonOption,
    ProjectOption,
    ResultOption,
    SetOption,
    project_and_workspace,
    run_stage,
)
from satseg.stages import TrainSpec

PatchSetOption = Annotated[
    str | None, typer.Option("--patch-set", metavar="ID", help="Patch set to learn from; default: the newest.")
]
InitFromOption = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="MODEL",
        help="Start from a model: champion, a version, a run id or a models:/ URI. "
        "Epochs and learning rate then come from the project's `retraining` section.",
    ),
]


def train(  # noqa: PLR0917 - Typer's parameters are keywords
    project: ProjectOption = None,
    patch_set: PatchSetOption = None,
    init_from: InitFromOption = None,
    overrides: SetOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Train one model and log it to MLflow.

    The same training done before is not done again; an interrupted one goes on where it stopped.

    Example: `satseg train -p buildings --set training.epochs=3 --set training.backbone=resnet18`
    """
    from satseg.training.train import run

    what, workspace = project_and_workspace(project, overrides)
    spec = TrainSpec(project=what, patch_set=patch_set, init_from=init_from, force=force)
    run_stage(run, spec, workspace, as_json, result)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(train)
