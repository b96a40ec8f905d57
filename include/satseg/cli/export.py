"""Command `satseg export`."""

from typing import Annotated, Literal

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
from satseg.stages import ExportSpec


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(  # noqa: PLR0917 - Typer's parameters are keywords
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Version number or alias.")],
    file_format: Annotated[
        Literal["onnx", "tflite"], typer.Option("--format", help="onnx for ONNX Runtime, tflite for LiteRT.")
    ],
    precision: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Numbers in the file; ONNX has float32 only.")
    ] = "float32",
    patch_set: Annotated[
        str | None, typer.Option("--patch-set", metavar="ID", help="Default: the one the model was trained on.")
    ] = None,
    calibration_windows: Annotated[int, typer.Option(min=1, help="Train windows that set the ranges of int8.")] = 128,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
    force: ForceOption = False,
) -> None:
    """Make a file of a model version for another engine and measure it beside the original.

    The file is kept with the version, and `satseg predict` and `satseg serve` may use it, only if its parity passes:
    same classes, same IoU on the test split. Otherwise the command ends with exit code 4 and the reasons.

    Example: `satseg export champion --format tflite --precision int8`
    """
    from satseg.serving.export import run

    what, workspace = project_and_workspace(project, overrides)
    spec = ExportSpec(
        project=what,
        version=version,
        format=file_format,
        precision=precision,
        patch_set=patch_set,
        calibration_windows=calibration_windows,
        force=force,
    )
    run_stage(run, spec, workspace, as_json, result, decided_against=lambda outcome: not outcome.exported)
