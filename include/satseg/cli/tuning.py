"""The command of the hyper-parameter search."""

from enum import StrEnum
from typing import Annotated

import typer

from satseg.cli.app import (
    JsonOption,
    ProjectOption,
    ResultOption,
    SetOption,
    project_and_workspace,
    run_stage,
)
from satseg.cli.training import InitFromOption, PatchSetOption, absolute, starting_overrides
from satseg.stages import TuneSpec


class Step(StrEnum):
    """Parts of the stage, for an orchestrator that runs trials side by side."""

    plan = "plan"
    trial = "trial"
    best = "best"
    all = "all"


TrialsOption = Annotated[
    int | None, typer.Option("--trials", metavar="N", min=1, help="How many; default: the project's search.trials.")
]
StepOption = Annotated[Step, typer.Option("--step", help="Do one step: plan, run one trial, choose the best.")]
StudyOption = Annotated[str | None, typer.Option("--study", metavar="ID", help="The study 'plan' made.")]
TrialOption = Annotated[int | None, typer.Option("--trial", metavar="N", min=0, help="Which trial to run, from 0.")]


def tune(  # noqa: PLR0917 - Typer's parameters are keywords
    project: ProjectOption = None,
    trials: TrialsOption = None,
    patch_set: PatchSetOption = None,
    init_from: InitFromOption = None,
    step: StepOption = Step.all,
    study: StudyOption = None,
    trial: TrialOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Search hyper-parameters: each trial trains with other values of the keys in the project's `search.space`.

    Trials are MLflow runs below one parent. Those whose val IoU stays below the median of earlier ones stop early.
    A killed search goes on when the same command is given; with more --trials it is continued.

    Example: `satseg tune -p buildings --trials 20`
    """
    from satseg.training.tune import run

    what, workspace = project_and_workspace(project, starting_overrides(overrides, init_from))
    spec = TuneSpec(
        project=what,
        patch_set=patch_set,
        init_from=absolute(init_from),
        trials=trials,
        step=step.value,
        study=study,
        trial=trial,
    )
    run_stage(run, spec, workspace, as_json, result)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(tune)
