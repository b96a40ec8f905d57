"""Commands of the inference room."""

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
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
    force: ForceOption = False,
) -> None:
    """Predict whole scenes: probability and class maps, polygons, a preview picture and a STAC Item.

    Windows overlap and are blended, so there are no seams; memory does not grow with the scene. Everything is in the
    scene's CRS, or in pixels for a scene without one. Nothing is done again for the same scene, model and settings.

    Example: `satseg predict ggaba_b harbour.tif --project buildings --out maps`
    """
    from satseg.inference.predict import run

    what, workspace = project_and_workspace(project, overrides)
    spec = PredictSpec(project=what, scenes=scenes, out=out, model=model, force=force)
    run_stage(run, spec, workspace, as_json, result)
