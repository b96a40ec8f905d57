"""Commands of the lineage room."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from satseg.cli.app import JsonOption, ProjectOption, ResultOption, SetOption, project_and_workspace, run_stage
from satseg.stages import LineageSpec, ReproduceSpec

COLOURS = {"ok": "green", "changed": "red", "missing": "red", "not checked": "yellow"}
UNCUT = 1000  # checksums and paths must stay whole; the terminal wraps long lines
LEAVES = ("scene", "code")  # they hang on their dataset version or run, the rest is one line of descent


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("lineage")(lineage)
    app.command("reproduce")(reproduce)


def lineage(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="File or folder of a prediction, model version (3, champion), run id, patch set id, dataset version "
            "(v3) or scene id; KIND:NAME where a name is ambiguous, for example model:v3.",
        ),
    ],
    project: ProjectOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Print the chain behind something, back to scenes and git commits, and everything that was made from it.

    Files are compared with their recorded checksums: ok, changed or missing.

    Example:
        satseg lineage workspace/predictions/buildings/ggaba_b/v1/polygons.geojson
    """
    from satseg.lineage import chain

    what, workspace = project_and_workspace(project, overrides)
    found = run_stage(chain.run, LineageSpec(project=what, target=target), workspace, as_json, result)
    if not as_json:
        console = Console(width=UNCUT)
        console.print(tree(found.chain))
        if found.uses:
            console.print(uses_tree(found.chain[0], found.uses))


def reproduce(  # noqa: PLR0917 - options of a command
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Version number, alias or run id.")],
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", metavar="FILE", help="The file it started from, if it was no run."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder in which everything is made again.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Make a model again from what is recorded of it (data, patches, training) and compare the weights.

    It takes as long as the training took. Ends with exit code 4 when a weight differs.

    Example:
        satseg reproduce champion
    """
    from satseg.lineage import reproduce as stage

    what, workspace = project_and_workspace(project)
    spec = ReproduceSpec(project=what, version=version, init_from=init_from, keep=keep)
    run_stage(stage.run, spec, workspace, as_json, result, decided_against=lambda outcome: not outcome.identical)


def uses_tree(first: dict[str, Any], uses: list[dict[str, Any]]) -> Tree:
    """Draw what was made from something as a tree: each thing below the one that it was made from."""
    root = Tree(f"[bold]made from {first['kind'].replace('_', ' ')}[/] {escape(first['id'])}")
    _hang(root, uses)
    return root


def _hang(branch: Tree, uses: list[dict[str, Any]]) -> None:
    for use in uses:
        _hang(branch.add(f"[bold]{use['kind'].replace('_', ' ')}[/] {escape(use['id'])}"), use["uses"])


def tree(nodes: list[dict[str, Any]]) -> Tree:
    """Draw a chain as a tree: each link below the one that was made from it."""
    root = Tree(_title(nodes[0]))
    _describe(root, nodes[0])
    branch = root
    for node in nodes[1:]:
        child = branch.add(_title(node))
        _describe(child, node)
        if node["kind"] not in LEAVES:
            branch = child
    return root


def _title(node: dict[str, Any]) -> str:
    state = node["state"]
    mark = f" [{COLOURS[state]}]{state}[/]" if state else ""
    return f"[bold]{node['kind'].replace('_', ' ')}[/] {escape(node['id'])}{mark}"


def _describe(branch: Tree, node: dict[str, Any]) -> None:
    for name, value in node["facts"].items():
        branch.add(f"[dim]{name.replace('_', ' ')}[/] {escape(value)}")
    for check in node["checks"]:
        if check["state"] != "ok":
            branch.add(f"[{COLOURS[check['state']]}]{escape(check['what'])}: {check['state']}[/]")
