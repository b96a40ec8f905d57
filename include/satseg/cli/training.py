"""Commands of the training room."""

import os
from pathlib import Path
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
from satseg.errors import ConfigurationError
from satseg.stages import TrainSpec

PatchSetOption = Annotated[
    str | None, typer.Option("--patch-set", metavar="ID", help="Patch set to learn from; default: the newest.")
]
InitFromOption = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="MODEL",
        help="Start from a model: champion, a version, a run id, a models:/ URI, or a folder with model.keras. "
        "The network is then that model's; epochs and learning rate come from the project's `retraining` section, "
        "unless --set gives them.",
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the project's newest interrupted training, with the options it had."),
]
ProfileOption = Annotated[bool, typer.Option("--profile", help="Log a TensorBoard profile of ten steps to MLflow.")]
_RETRAINED = ("epochs", "learning_rate")
_NETWORK = {"training.architecture", "training.backbone"}


def train(  # noqa: PLR0917 - Typer's parameters are keywords
    project: ProjectOption = None,
    patch_set: PatchSetOption = None,
    init_from: InitFromOption = None,
    resume: ResumeOption = False,
    profile: ProfileOption = False,
    overrides: SetOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Train one model and log it to MLflow.

    The same training done before is not done again; an interrupted one goes on where it stopped when the same
    command is given, or with --resume, which finds it by itself.

    Example: `satseg train -p buildings --set training.epochs=3 --set training.backbone=resnet18`
    """
    from satseg.training.interrupted import interrupted_training
    from satseg.training.train import run

    what, workspace = project_and_workspace(project, starting_overrides(overrides, init_from))
    if resume:
        if patch_set or init_from or overrides or force:
            raise ConfigurationError(
                "--resume takes the options the interrupted training had: give --project and nothing else, "
                "or repeat that training's command without --resume."
            )
        spec = interrupted_training(workspace, what.name)
    else:
        spec = TrainSpec(
            project=what,
            patch_set=patch_set,
            init_from=absolute(init_from),
            same_network=bool(init_from and _NETWORK & _named(overrides)),
            force=force,
        )
    run_stage(lambda spec, workspace: run(spec, workspace, profile=profile), spec, workspace, as_json, result)


def starting_overrides(overrides: list[str] | None, init_from: str | None) -> list[str]:
    """Return the overrides, where a training that starts from a model takes explicit epochs and rate from --set too."""
    given = list(overrides or ())
    if init_from is None:
        return given
    named = _named(given)
    for override in tuple(given):
        key, _, value = override.partition("=")
        section, _, name = key.strip().partition(".")
        if section == "training" and name in _RETRAINED and f"retraining.{name}" not in named:
            given.append(f"retraining.{name}={value}")
    return given


def _named(overrides: list[str] | None) -> set[str]:
    return {override.partition("=")[0].strip() for override in overrides or ()}


def absolute(model: str | None) -> str | None:
    """Return a model reference in which a path holds from every folder."""
    is_path = model is not None and not model.startswith("models:/") and (os.sep in model or model.endswith(".keras"))
    return str(Path(str(model)).resolve()) if is_path else model


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(train)
