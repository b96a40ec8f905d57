"""Commands of the drift room."""

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from satseg.cli.app import (
    JsonOption,
    OnlyScenesOption,
    ProjectOption,
    ResultOption,
    SetOption,
    print_json_or,
    project_and_workspace,
    run_stage,
)
from satseg.errors import ConfigurationError
from satseg.stages import (
    ConceptSpec,
    DriftEpisodeSpec,
    DriftProfileSpec,
    DriftReportSpec,
    DriftResult,
    DriftStatusSpec,
    DriftTestSpec,
    EvidenceSpec,
    LabelsSpec,
)

NightOption = Annotated[str, typer.Option("--night", metavar="YYYY-MM-DD", help="The night.")]
DriftNightOption = Annotated[str | None, typer.Option("--night", metavar="YYYY-MM-DD", help="Night of the drift.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    drift = typer.Typer(
        name="drift",
        help="Watch whether new scenes still look like the champion's training data.\n\n"
        "Examples: `satseg drift test --night 2026-03-31` · `satseg drift show`",
        no_args_is_help=True,
    )
    drift.command("profile")(profile)
    drift.command("test")(test)
    drift.command("report")(report)
    drift.command("concept")(concept)
    drift.command("labels")(labels)
    drift.command("evidence")(evidence)
    drift.command("status")(status)
    drift.command("episode")(episode)
    drift.command("show")(show)
    app.add_typer(drift)


def profile(  # noqa: PLR0917 - options of a command
    night: NightOption,
    scene: Annotated[
        list[str] | None, typer.Option("--scene", metavar="ID", help="Scene of the dataset; repeatable.")
    ] = None,
    requests: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Also what the service logged of its requests that day.")
    ] = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Describe the patches of a night's scenes by brightness, contrast, sharpness, texture and colour.

    Example: `satseg drift profile --night 2026-03-31 --scene north_12 --scene north_13`
    """
    from satseg.drift import profile as stage

    if not scene and requests is None:
        raise ConfigurationError("Nothing to profile: give scenes (--scene ID) or a day (--requests YYYY-MM-DD).")
    what, workspace = project_and_workspace(project, overrides)
    spec = DriftProfileSpec(project=what, night=night, scenes=scene or [], requests=requests)
    run_stage(stage.run, spec, workspace, as_json, result)


def test(  # noqa: PLR0917 - options of a command
    night: NightOption,
    scene: OnlyScenesOption = None,
    may_be_empty: Annotated[
        bool, typer.Option("--may-be-empty", help="Without any profile, record a night without new scenes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the night's result about other scenes.")] = False,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Compare a profiled night with the scenes the champion was trained on.

    Kolmogorov-Smirnov distance per feature, and all features together; null distribution by dealing whole scenes (or
    blocks) anew, earlier nights among them; a correction over all tests and an effect floor. Where the champion has
    predicted the scenes, its predictions are compared too. "No drift" ends with exit code 0, like drift. A night that
    was decided on other scenes keeps its result (exit code 4); --force replaces it.

    Example: `satseg drift test --night 2026-03-31`
    """
    from satseg.drift import compare

    what, workspace = project_and_workspace(project, overrides)
    spec = DriftTestSpec(project=what, night=night, scenes=scene, may_be_empty=may_be_empty, force=force)
    run_stage(compare.run, spec, workspace, as_json, result, lambda outcome: outcome.kept)


def report(
    night: NightOption,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Draw report.html of a tested night and log it, with the figures, to MLflow.

    Example: `satseg drift report --night 2026-03-31`
    """
    from satseg.drift import report as stage

    what, workspace = project_and_workspace(project, overrides)
    run_stage(stage.run, DriftReportSpec(project=what, night=night), workspace, as_json, result)


def concept(
    scene: OnlyScenesOption = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Measure the champion on scenes labelled since its training, and estimate its IoU where labels are missing.

    Takes the maps that `satseg predict` has written. Concept drift: the IoU is lower than on the test blocks by more
    than chance.

    Example: `satseg drift concept --scene north_12`
    """
    from satseg.drift import concept as stage

    what, workspace = project_and_workspace(project, overrides)
    run_stage(stage.run, ConceptSpec(project=what, scenes=scene), workspace, as_json, result)


def labels(
    night: DriftNightOption = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Count the labels a retraining can learn from, and say whether annotators have to be asked (exit code 4: no).

    Scenes labelled since the champion's dataset version count; `retraining.min_new_scenes` says how many it takes.

    Example: `satseg drift labels --night 2026-03-31`
    """
    from satseg.drift import labels as stage

    what, workspace = project_and_workspace(project, overrides)
    spec = LabelsSpec(project=what, night=night)
    run_stage(stage.run, spec, workspace, as_json, result, lambda outcome: outcome.enough)


def evidence(  # noqa: PLR0917 - options of a command
    run: Annotated[str, typer.Argument(metavar="RUN", help="The retrained run.")],
    champion: Annotated[str, typer.Option("--champion", metavar="RUN", help="Run or version it was trained from.")],
    patch_set: Annotated[str, typer.Option("--patch-set", metavar="ID", help="Patch set both were measured on.")],
    night: DriftNightOption = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Keep with a retrained run why it was trained and how both models do on old and on new scenes.

    `satseg register` puts it into the model card.

    Example: `satseg drift evidence 3f2a91 --champion champion --patch-set 0f3a9c1b2d4e --night 2026-03-31`
    """
    from satseg.drift import evidence as stage

    what, workspace = project_and_workspace(project, overrides)
    spec = EvidenceSpec(project=what, run=run, champion=champion, patch_set=patch_set, night=night)
    run_stage(stage.run, spec, workspace, as_json, result)


def status(
    night: NightOption,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Say whether the latest nights confirm drift and whether a retraining may start.

    Example: `satseg drift status --night 2026-03-31 --json`
    """
    from satseg.drift import status as stage

    what, workspace = project_and_workspace(project, overrides)
    run_stage(stage.run, DriftStatusSpec(project=what, night=night), workspace, as_json, result)


def episode(  # noqa: PLR0917 - options of a command
    action: Annotated[str, typer.Option("--action", metavar="open|close", help="What to do.")],
    night: DriftNightOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people who read the history.")] = "",
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Open or close the drift episode; while one is open no other retraining starts.

    Exit code 4 when another episode is in the way.

    Example: `satseg drift episode --action close --night 2026-03-31 --reason "v4 was promoted"`
    """
    from satseg.drift import episode as stage

    if action not in {"open", "close"}:
        raise ConfigurationError(f"--action {action!r}: write open or close.")
    chosen: Literal["open", "close"] = "open" if action == "open" else "close"
    what, workspace = project_and_workspace(project, overrides)
    spec = DriftEpisodeSpec(project=what, night=night, action=chosen, reason=reason)
    run_stage(stage.run, spec, workspace, as_json, result, lambda outcome: stage.refused(spec, outcome))


def show(
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Latest nights to show.")] = 30,
) -> None:
    """List the tested nights and their verdicts, and the drift episodes.

    Example: `satseg drift show --limit 10`
    """
    from satseg.drift.episode import read_history
    from satseg.drift.nights import read_report, tested_nights

    what, workspace = project_and_workspace(project, overrides)
    nights = [read_report(workspace, what.name, night) for night in tested_nights(workspace, what.name)[-limit:]]
    episodes = read_history(workspace, what.name).model_dump(mode="json")["episodes"]
    value = {"nights": [night.model_dump(mode="json") for night in nights], "episodes": episodes}
    print_json_or(lambda console: _draw(console, what.name, nights, episodes), value, as_json)


def _draw(console: Console, project: str, nights: list[DriftResult], episodes: list[dict[str, str | None]]) -> None:
    if not nights:
        console.print(f"No night of {project} has been tested yet. Begin with `satseg drift profile`.")
    table = Table("night", "verdict", "moved", "scenes", "reference", "adjusted p", title=f"Nights of {project}")
    for night in nights:
        moved = [feature.feature for feature in night.features if feature.drifted]
        table.add_row(
            night.night,
            f"[bold red]{night.verdict}[/]" if night.drifted else night.verdict,
            ", ".join(moved[:3]) + (f" +{len(moved) - 3}" if len(moved) > 3 else ""),
            str(len(night.scenes)),
            f"{night.reference_version} ({night.champion})" if night.reference_version else "–",
            "–" if night.p_value is None else f"{night.p_value:.3g}",
        )
    if nights:
        console.print(table)
    for one in episodes:
        end = f"closed on night {one['closed_night']} ({one['close_reason']})" if one["closed_night"] else "open"
        console.print(f"Episode of night {one['night']}: {end}", markup=False)
