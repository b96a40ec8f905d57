"""Commands of the patches room."""

from enum import StrEnum
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


class Step(StrEnum):
    """Parts of the stage, for an orchestrator that runs scenes side by side."""

    plan = "plan"
    extract = "extract"
    finalise = "finalise"
    all = "all"


VersionOption = Annotated[
    str | None, typer.Option("--dataset-version", metavar="vN", help="Dataset version; default: the newest.")
]
SceneOption = Annotated[
    list[str] | None, typer.Option("--scene", metavar="ID", help="Extract only this scene; repeatable.")
]
StepOption = Annotated[Step, typer.Option("--step", help="Do one step: plan, extract each scene, finalise.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(patch)


def patch(  # noqa: PLR0917 - Typer's parameters are keywords
    project: ProjectOption = None,
    dataset_version: VersionOption = None,
    scene: SceneOption = None,
    step: StepOption = Step.all,
    force: ForceOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Cut a dataset version into a patch set: windows, spatial split, shards, statistics.

    The same data and parameters give the same patch set, which is then not made again. Scenes can be extracted side
    by side: plan first, then one extract per scene, then finalise.

    Example: `satseg patch -p buildings`, or for one scene
    `satseg patch -p buildings --dataset-version v2 --step extract --scene ggaba_a`
    """
    from satseg.patches.generate import run
    from satseg.stages import PatchSpec

    what, workspace = project_and_workspace(project, overrides)
    spec = PatchSpec(project=what, dataset_version=dataset_version, scenes=scene or [], step=step.value, force=force)
    run_stage(run, spec, workspace, as_json, result)
