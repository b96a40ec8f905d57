"""Commands of the selection room."""

from typing import Annotated

import typer

from satseg.cli.app import (
    ForceOption,
    JsonOption,
    OnlyScenesOption,
    ProjectOption,
    ResultOption,
    SetOption,
    project_and_workspace,
    run_stage,
)
from satseg.errors import ConfigurationError
from satseg.stages import SelectSpec


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(select)


def select(  # noqa: PLR0917 - Typer's parameters are keywords
    budget: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many windows to label.")] = None,
    collect: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Bring the checked windows of a selection to the drop zone instead."),
    ] = None,
    scene: OnlyScenesOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the selection; default: a hash of its content.")] = None,
    model: Annotated[str, typer.Option(help="Alias, version number, run id or models:/ URI.")] = "champion",
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
    force: ForceOption = False,
) -> None:
    """Choose the windows of unlabelled scenes that are most worth labelling, for annotators with LabelMe.

    Windows about which the model is unsure, and which look unlike each other. Each comes as a GeoTIFF with a LabelMe
    file that holds the model's polygons and the flag `checked`. Annotators correct the polygons and tick the flag;
    `--collect NAME` then copies the checked windows to the drop zone for `satseg ingest`. Exit code 4: nothing to do.

    Example: `satseg select --budget 20`
    """
    from satseg.selection.select import run

    if (budget is None) == (collect is None):
        raise ConfigurationError("Give either --budget N, to select windows, or --collect NAME, to bring them home.")
    what, workspace = project_and_workspace(project, overrides)
    spec = SelectSpec(
        project=what,
        budget=budget,
        step="select" if collect is None else "collect",
        scenes=scene,
        name=collect or name,
        model=model,
        force=force,
    )
    run_stage(run, spec, workspace, as_json, result, lambda found: not (found.collected if collect else found.windows))
