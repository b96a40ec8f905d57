"""Commands of the lineage room."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from satseg.cli.app import JsonOption, ProjectOption, ResultOption, SetOption, project_and_workspace, run_stage
from satseg.stages import LineageSpec

COLOURS = {"ok": "green", "changed": "red", "missing": "red", "not checked": "yellow"}
UNCUT = 1000  # checksums and paths must stay whole; the terminal wraps long lines
LEAVES = ("scene", "code")  # they hang on their dataset version or run, the rest is one line of descent


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("lineage")(lineage)


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
    """Print the chain behind something: model version, run, patch set, dataset version, scenes, git commits.

    Files are compared with their recorded checksums: ok, changed or missing.

    Example:
        satseg lineage workspace/predictions/buildings/ggaba_b/v1/polygons.geojson
    """
    from satseg.lineage import chain

    what, workspace = project_and_workspace(project, overrides)
    found = run_stage(chain.run, LineageSpec(project=what, target=target), workspace, as_json, result)
    if not as_json:
        Console(width=UNCUT).print(tree(found.chain))


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
    for user in node["used_by"]:
        branch.add(f"[dim]used by[/] {escape(user)}")
