"""Commands of the inference room."""

import re
from pathlib import Path
from typing import Annotated, Any

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
from satseg.stages import ExplainSpec, PredictSpec


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(predict)
    app.command()(explain)


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


def explain(  # noqa: PLR0917 - Typer's parameters are keywords
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="Scene id of the dataset, or a raster file.")],
    window: Annotated[
        str | None, typer.Option(metavar="ROW,COL,SIDE", help="Only this square of pixels; default: the whole scene.")
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="The class to explain; default: the first.")
    ] = None,
    model: Annotated[str, typer.Option(help="Alias, version number, run id or models:/ URI.")] = "champion",
    stride: Annotated[int, typer.Option(help="Pixels per step of the feature maps: 2, 4, 8, 16 or 32.")] = 32,
    test_time: Annotated[str, typer.Option(help="Views that are compared: flips, turns or all.")] = "all",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default: in the workspace.")] = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
    force: ForceOption = False,
) -> None:
    """Show where a model looks for a class, and where it is unsure: a picture, and a GeoTIFF for QGIS.

    Seg-Grad-CAM (Vinogradova 2020) on the encoder's feature maps, and the disagreement of mirrored and turned views.

    Example: `satseg explain ggaba_b --window 512,1024,512`
    """
    from satseg.inference.explain import run

    if stride not in {2, 4, 8, 16, 32}:
        raise ConfigurationError(f"--stride {stride}: write 2, 4, 8, 16 or 32.")
    if test_time not in {"flips", "turns", "all"}:
        raise ConfigurationError(f"--test-time {test_time}: write flips, turns or all.")
    what, workspace = project_and_workspace(project, overrides)
    chosen: dict[str, Any] = {"stride": stride, "test_time": test_time, "window": _checked_window(window)}
    spec = ExplainSpec(project=what, scene=scene, class_name=class_name, model=model, out=out, force=force, **chosen)
    run_stage(run, spec, workspace, as_json, result)


def _checked_window(window: str | None) -> tuple[int, int, int] | None:
    if window is None:
        return None
    if not re.fullmatch(r"\d+,\d+,\d+", window):
        raise ConfigurationError(
            f"--window {window}: write first row, first column and side, for example 512,1024,512."
        )
    row, col, side = (int(word) for word in window.split(","))
    return row, col, side
