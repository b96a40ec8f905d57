"""Commands of the inference room."""

import re
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
from satseg.stages import PredictSpec


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(predict)


def predict(  # noqa: PLR0917 - Typer's parameters are keywords
    scenes: Annotated[list[str], typer.Argument(metavar="SCENE...", help="Scene ids of the dataset, or raster files.")],
    project: ProjectOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write DIR/SCENE/ instead of the workspace's predictions folder."),
    ] = None,
    model: Annotated[str, typer.Option(help="Alias, version number, run id or models:/ URI.")] = "champion",
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Predict only the K-th of N shares of the rows; a run without it joins them."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say in how many parts large scenes would be done.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
    force: ForceOption = False,
) -> None:
    """Predict whole scenes: probability and class maps, polygons, a preview picture and a STAC Item.

    Windows overlap and are blended, so there are no seams; memory does not grow with the scene. Everything is in the
    scene's CRS, or in pixels for a scene without one. Nothing is done again for the same scene, model and settings,
    and a run that was killed goes on after the last rows it finished.

    Several machines on one workspace can share a scene: each predicts a part, then the same command without `--part`
    joins them, with the result of a single run.

    Example: `satseg predict ggaba_b harbour.tif --project buildings --out maps`
    """
    from satseg.inference.predict import run

    what, workspace = project_and_workspace(project, overrides)
    spec = PredictSpec(
        project=what,
        scenes=scenes,
        out=out,
        model=model,
        step="plan" if plan else "all",
        part=_checked_part(part),
        force=force,
    )
    run_stage(run, spec, workspace, as_json, result)


def _checked_part(part: str | None) -> str | None:
    if part is not None and not re.fullmatch(r"[1-9]\d*/[1-9]\d*", part):
        raise ConfigurationError(f"--part {part} is no share: write K/N, for example 2/3.")
    return part
