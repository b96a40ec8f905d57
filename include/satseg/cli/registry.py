"""Commands of the registry room: evaluate, register, promote, rollback and `models`."""

from typing import Annotated, Any

import typer

from satseg.cli import registry_tables as tables
from satseg.cli.app import (
    DecidedAgainst,
    ForceOption,
    JsonOption,
    ProjectOption,
    ResultOption,
    SetOption,
    print_json_or,
    project_and_workspace,
    run_stage,
)
from satseg.config.project import ProjectConfig
from satseg.progress import say
from satseg.stages import DriftEpisodeSpec, EvaluateSpec, PromoteSpec, RegisterSpec, RegistryResult, RollbackSpec
from satseg.storage.layout import Workspace

VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Version number, alias or run id.")]
AGAINST = ("refused", "undecided")
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit log.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("evaluate")(evaluate)
    app.command("register")(register_run)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    models = typer.Typer(
        name="models",
        help="Look at the versions of the registered model.\n\n"
        "Examples: `satseg models list` · `satseg models compare champion challenger`",
        no_args_is_help=True,
    )
    models.command("list")(list_versions)
    models.command("show")(show)
    models.command("compare")(compare)
    app.add_typer(models)


def evaluate(  # noqa: PLR0917 - options of a command
    model: Annotated[str, typer.Argument(metavar="MODEL", help="MLflow run id, version number or alias.")],
    patch_set: Annotated[
        str | None, typer.Option("--patch-set", metavar="ID", help="Default: the one the model was trained on.")
    ] = None,
    hard_negatives: Annotated[
        bool, typer.Option("--hard-negatives", help="Also list the training negatives it takes for something.")
    ] = False,
    project: ProjectOption = None,
    overrides: SetOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Measure a model on the held-out blocks of a patch set, in total and per scene, with intervals and a report.

    Example:
        satseg evaluate champion
    """
    from satseg.evaluation import evaluate as stage

    what, workspace = project_and_workspace(project, overrides)
    spec = EvaluateSpec(project=what, model=model, patch_set=patch_set, hard_negatives=hard_negatives, force=force)
    measured = run_stage(stage.run, spec, workspace, as_json, result)
    if not as_json:
        tables.show(tables.scores(measured))
        say(f"Report: {measured.page}")


def register_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="MLflow run id.")],
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Make a finished run a version of the project's registered model, with alias challenger.

    Example:
        satseg register 3f2a9c0d
    """
    from satseg.registry import register as stage

    what, workspace = project_and_workspace(project, overrides)
    run_stage(stage.run, RegisterSpec(project=what, run=run), workspace, as_json, result)


def promote(  # noqa: PLR0917 - options of a command
    version: VersionArgument,
    check: Annotated[bool, typer.Option("--check", help="Only try the gates; no alias moves.")] = False,
    approved_by: Annotated[
        str | None, typer.Option("--approved-by", metavar="NAME", help="Who approves, for the audit log.")
    ] = None,
    rejected_by: Annotated[
        str | None, typer.Option("--rejected-by", metavar="NAME", help="Who says no; refuses the version, on record.")
    ] = None,
    reason: ReasonOption = "",
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Make a version champion if it passes every gate; refused versions end with exit code 4 and the reasons.

    So do versions on which a person has to decide. A promotion also closes the open drift episode, if there is one.

    Example:
        satseg promote challenger --check
    """
    from satseg.registry import promote as stage

    what, workspace = project_and_workspace(project, overrides)
    spec = PromoteSpec(
        project=what, version=version, check=check, approved_by=approved_by, rejected_by=rejected_by, reason=reason
    )
    try:
        decided = run_stage(
            stage.run, spec, workspace, as_json, result, decided_against=lambda outcome: outcome.decision in AGAINST
        )
    except DecidedAgainst as refused:
        _show_gates(refused.result, as_json)
        raise
    if decided.decision == "promoted":
        _close_episode(what, workspace, decided)
    _show_gates(decided, as_json)


def _close_episode(project: ProjectConfig, workspace: Workspace, promoted: RegistryResult) -> None:
    """End the drift episode whose retraining has led to a champion, as model_promotion does."""
    from satseg.drift import episode

    if episode.read_history(workspace, project.name).current is None:
        return
    reason = f"version {promoted.version} was promoted"
    say(episode.run(DriftEpisodeSpec(project=project, action="close", reason=reason), workspace).message)


def _show_gates(result: Any, as_json: bool) -> None:
    if not as_json and isinstance(result, RegistryResult) and result.gates:
        tables.show(tables.gates(result.gates))


def rollback(  # noqa: PLR0917 - options of a command
    reason: ReasonOption = "",
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who asks for it; default: your account.")
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", metavar="ID", help="The same ID again does not go back a second step.")
    ] = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Make the previous champion champion again.

    Example:
        satseg rollback --reason "misses tin roofs"
    """
    from satseg.registry import rollback as stage

    what, workspace = project_and_workspace(project, overrides)
    run_stage(stage.run, RollbackSpec(project=what, reason=reason, by=by, request=request), workspace, as_json, result)


def list_versions(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List the versions of the project's registered model, newest first.

    Example:
        satseg models list
    """
    from satseg.registry.overview import list_models

    what, workspace = project_and_workspace(project)
    rows = list_models(workspace, what.name)
    print_json_or(
        lambda console: tables.draw_list(console, what.name, rows),
        [row.model_dump(mode="json") for row in rows],
        as_json,
    )


def show(version: VersionArgument, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Show all that is known of a version: card, scores, tags, decisions.

    Example:
        satseg models show champion
    """
    from satseg.registry.overview import show_model

    what, workspace = project_and_workspace(project)
    detail = show_model(workspace, what.name, version)
    print_json_or(
        lambda console: tables.draw_detail(console, detail), detail.model_dump(mode="json", by_alias=True), as_json
    )


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Version number or alias.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Version number or alias.")],
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put two versions side by side: scores on the same blocks, and what differs in how they were made.

    Example:
        satseg models compare champion challenger
    """
    from satseg.registry.overview import compare_models

    what, workspace = project_and_workspace(project)
    comparison = compare_models(workspace, what.name, first, second)
    print_json_or(
        lambda console: tables.draw_comparison(console, comparison), comparison.model_dump(mode="json"), as_json
    )
