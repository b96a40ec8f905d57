"""Commands of the datasets room: `ingest` and `datasets list|show|diff|checkout|push|scenes|remove`."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from satseg.cli.app import (
    JsonOption,
    ProjectOption,
    ResultOption,
    SetOption,
    print_json_or,
    project_and_workspace,
    run_stage,
)
from satseg.errors import ConfigurationError, ExitCode, InterruptedRunError, SatsegError
from satseg.progress import say
from satseg.stages import IngestSpec, ListScenesSpec, RemoveScenesSpec

VersionArgument = Annotated[str | None, typer.Argument(metavar="VERSION", help="Like v3; default: the newest.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("ingest")(ingest)
    group = typer.Typer(
        name="datasets",
        help="Look at dataset versions and what is in them.\n\n"
        "Examples: `satseg datasets list -p buildings` · `satseg datasets diff v1 v2`",
        no_args_is_help=True,
    )
    group.command("list")(list_versions)
    group.command("show")(show)
    group.command("diff")(diff)
    group.command("checkout")(checkout)
    group.command("push")(push)
    group.command("scenes")(scenes)
    group.command("remove")(remove)
    app.add_typer(group)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"'{text}' is no time ({error}). Write a date like 2026-03-31, or a time like 2026-03-31T02:00 (UTC) or "
            "2026-03-31T02:00+03:00."
        ) from error


def _given_path(text: str) -> Path:
    if not text:  # an unset shell variable would mean the current folder
        raise typer.BadParameter("SOURCE is empty. Give a folder or a scene, or leave it out.")
    return Path(text)


def ingest(  # noqa: PLR0917 - options of a command
    source: Annotated[
        Path | None,
        typer.Argument(
            parser=_given_path, metavar="SOURCE", help="Folder or scene; default: the project's folder in incoming/."
        ),
    ] = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    force: Annotated[
        bool, typer.Option("--force/--no-force", help="Convert scenes again that the dataset already holds.")
    ] = False,
    retry_quarantine: Annotated[
        bool,
        typer.Option(
            "--retry-quarantine/--no-retry-quarantine",
            help="Check the quarantined scenes again, after the project file or their files were mended.",
        ),
    ] = False,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Bring scenes (GeoTIFF, PNG, JPEG) and labels into the dataset as a new version.

    Each scene becomes a Cloud-Optimized GeoTIFF with a STAC item; what cannot be used goes to quarantine with its
    reasons. The same files again make no new version.

    Example:
        satseg ingest ~/scenes --project buildings
    """
    from satseg.datasets import ingest as stage

    what, workspace = project_and_workspace(project, overrides)
    spec = IngestSpec(project=what, source=source, force=force, retry_quarantine=retry_quarantine)
    with _stopped_is_temporary():
        run_stage(stage.run, spec, workspace, as_json, result)


@contextmanager
def _stopped_is_temporary() -> Iterator[None]:
    """Tell "told to stop" from a defect: Great Expectations catches the exception of SIGTERM and fails otherwise."""
    try:
        yield
    except SatsegError:
        raise
    except Exception as error:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # what the handler of SIGTERM leaves behind
            raise
        raise InterruptedRunError("Told to stop (SIGTERM). Run the same command again to go on.") from error


def list_versions(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List the versions of the dataset, oldest first.

    Example:
        satseg datasets list -p buildings
    """
    from satseg.datasets.listing import versions_table

    what, workspace = project_and_workspace(project)
    rows = versions_table(workspace, what.name)
    for row in rows:
        row["made"] = _minute(row["created"])
    columns = ("version", "made", "scenes", "labelled", "polygons", "message")
    print_json_or(_drawn(f"Dataset versions of {what.name}", columns, rows), rows, as_json)


def show(version: VersionArgument = None, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Show what a version changed, and its scenes.

    Example:
        satseg datasets show v2 -p buildings
    """
    from satseg.datasets.listing import scene_table

    what, workspace = project_and_workspace(project)
    tag, rows = scene_table(workspace, what.name, version)
    for row in rows:
        row |= {"size": f"{row['width']} × {row['height']}", "ingested": _minute(row["ingested_at"])}
    columns = ("scene", "size", "dtype", "crs", "gsd_m", "polygons", "ingested")
    value = {
        "project": what.name,
        "version": tag.name,
        "message": tag.message,
        "changes": tag.details.splitlines(),
        "scenes": rows,
    }
    print_json_or(_drawn(f"{what.name} {tag.name}: {tag.message}", columns, rows), value, as_json)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Version, like v1.")],
    new: Annotated[str | None, typer.Argument(metavar="NEW", help="Version; default: the newest.")] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which scenes and labels two versions do not share.

    Example:
        satseg datasets diff v1 v2
    """
    from satseg.datasets.difference import difference

    what, workspace = project_and_workspace(project)
    found = difference(workspace, what.name, old, new)
    rows = [
        {"change": kind.replace("_", " "), "scene": scene, "polygons": None}
        for kind, scenes in vars(found.scenes).items()
        for scene in scenes
    ]
    for row in rows:
        if row["change"] == "labels changed":
            row["polygons"] = _polygons(found.labels[str(row["scene"])])
    title = f"{what.name} {found.old} → {found.new}"
    print_json_or(_drawn(title, ("change", "scene", "polygons"), rows), found.plain(), as_json)


def checkout(
    version: VersionArgument = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="New folder; default: in the workspace's views/."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links instead of copies: no space, but never edit them.")
    ] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lay a version out as a folder to look into, for example with QGIS; the dataset itself stays at the newest.

    Example:
        satseg datasets checkout v1 --out ~/roofs-v1
    """
    from satseg.datasets import checkouts

    what, workspace = project_and_workspace(project)
    opened, folder = checkouts.checkout(workspace, what.name, version, out, link=link)
    value = {"project": what.name, "version": opened.name, "folder": str(folder), "scenes": len(opened.scenes)}
    print_json_or(lambda console: console.print(str(folder), soft_wrap=True, highlight=False), value, as_json)


def push(as_json: JsonOption = False) -> None:
    """Send the dataset versions that the DVC remote lacks, of all projects.

    Each ingest does it too; this is for a remote that was away, or a new one.

    Example:
        SATSEG_DVC_REMOTE=s3://scenes/satseg satseg datasets push
    """
    from satseg.config.settings import settings
    from satseg.datasets.remote import push_now
    from satseg.storage.layout import Workspace

    pushed = push_now(Workspace(settings().workspace))
    said = f"{pushed.remote} has every version: {len(pushed.versions)} new ones, {pushed.files} files sent."
    print_json_or(lambda console: console.print(said, highlight=False, soft_wrap=True), asdict(pushed), as_json)


def scenes(  # noqa: PLR0917 - options of a command
    version: Annotated[
        str | None, typer.Option("--dataset-version", metavar="vN", help="Only what this version added or changed.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=_moment, metavar="TIME", help="Ingested at or after this time (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=_moment, metavar="TIME", help="Ingested before this time (UTC).")
    ] = None,
    not_predicted_by: Annotated[
        str | None, typer.Option("--not-predicted-by", metavar="vN", help="Leave out what this model has predicted.")
    ] = None,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """List scene ids, one a line: all, or by version, time of ingest and missing prediction.

    Example:
        satseg datasets scenes --not-predicted-by v3
    """
    from satseg.datasets import listing

    what, workspace = project_and_workspace(project, overrides)
    spec = ListScenesSpec(
        project=what, dataset_version=version, since=since, until=until, not_predicted_by=not_predicted_by
    )
    found = run_stage(listing.run, spec, workspace, as_json, result)
    if not as_json:
        for scene in found.scenes:
            print(scene)


def remove(  # noqa: PLR0917 - options of a command
    scene: Annotated[list[str], typer.Argument(metavar="SCENE...", help="Ids, as `satseg datasets show` lists them.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the version.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Make a dataset version without some scenes; older versions keep them.

    What was made from older versions stays: patch sets, models, maps; `satseg lineage SCENE` names it. The next
    `satseg patch` goes without the scenes, and their ground keeps its split. Ingesting a scene again brings it back.
    Exit code 4: you said no.

    Example:
        satseg datasets remove ggaba_b --reason "the owner took it back" -p buildings
    """
    from satseg.datasets import removal

    what, workspace = project_and_workspace(project, overrides)
    if not yes and not _agreed(f"Make a version of {what.name} without {', '.join(scene)}?"):
        say("Nothing was removed.")
        raise typer.Exit(ExitCode.DECIDED_AGAINST)
    run_stage(removal.run, RemoveScenesSpec(project=what, scenes=scene, reason=reason), workspace, as_json, result)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody is there to be asked; give --yes.")
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _polygons(change: Any) -> str:
    def counted(polygons: dict[str, int] | None) -> str:
        if polygons is None:
            return "unlabelled"
        return ", ".join(f"{count} {name}" for name, count in polygons.items()) or "none"

    return f"{counted(change.before)} → {counted(change.after)} (+{change.added} −{change.removed})"


def _minute(time: str) -> str:
    return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")


def _drawn(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Any:
    def draw(console: Console) -> None:
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*("–" if row[column] is None else str(row[column]) for column in columns))
        console.print(table if rows else f"{title}: none")

    return draw
