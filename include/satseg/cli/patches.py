"""Commands of the patches room."""

import contextlib
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from satseg.cli.app import (
    ForceOption,
    JsonOption,
    ProjectOption,
    ResultOption,
    SetOption,
    print_json_or,
    project_and_workspace,
    run_stage,
)
from satseg.errors import ConfigurationError
from satseg.storage.layout import Workspace


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

PreviewOption = Annotated[
    bool, typer.Option("--preview", help="Also draw a contact sheet and a map of the splits; logged to MLflow.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=64, help="Threads that read and cut; the patches do not depend on it."),
]
ListOption = Annotated[bool, typer.Option("--list", help="List the patch sets there are, and who needs them.")]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove the patch sets that nobody needs.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(patch)


def patch(  # noqa: PLR0917 - Typer's parameters are keywords
    project: ProjectOption = None,
    dataset_version: VersionOption = None,
    scene: SceneOption = None,
    step: StepOption = Step.all,
    preview: PreviewOption = False,
    threads: ThreadsOption = None,
    list_sets: ListOption = False,
    prune_sets: PruneOption = False,
    force: ForceOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    result: ResultOption = None,
) -> None:
    """Cut a dataset version into a patch set: windows, spatial split, shards, statistics.

    The same data and parameters give the same patch set, which is then not made again. Scenes can be extracted side
    by side: plan first, then one extract per scene, then finalise.

    `--list` and `--prune` only look at and remove patch sets there are. `--prune` keeps the one meant when none is
    named, those that models were trained on and unfinished ones of the last 24 hours; with `--force` it removes the
    latter two as well, and says so.

    Example: `satseg patch -p buildings`, with pictures `satseg patch -p buildings --preview`, or for one scene
    `satseg patch -p buildings --dataset-version v2 --step extract --scene ggaba_a`
    """
    from satseg.patches.generate import run
    from satseg.stages import PatchSpec

    what, workspace = project_and_workspace(project, overrides)
    if list_sets or prune_sets:
        if step is not Step.all or scene or preview or dataset_version:
            raise ConfigurationError(
                "--list and --prune make no patch set: leave out --step, --scene, --preview and --dataset-version."
            )
        _keep_house(workspace, what.name, prune_sets, force, as_json)
        return
    spec = PatchSpec(
        project=what,
        dataset_version=dataset_version,
        scenes=scene or [],
        step=step.value,
        threads=threads,
        preview=preview,
        force=force,
    )
    run_stage(run, spec, workspace, as_json, result)


def _keep_house(workspace: Workspace, project: str, remove: bool, force: bool, as_json: bool) -> None:
    from satseg.patches.housekeeping import PatchSetState, patch_set_states, prune
    from satseg.patches.patchset import SPLITS

    with contextlib.redirect_stdout(sys.stderr):  # MLflow prints hints
        pruned = prune(workspace, project, force) if remove else None
        states = pruned.kept if pruned else patch_set_states(workspace, project)

    def plain(state: PatchSetState) -> dict[str, Any]:
        about = state.description
        return {
            "patch_set": state.id,
            "complete": about is not None,
            "dataset_version": about.dataset_version if about else None,
            "created": about.created.isoformat(timespec="seconds") if about else None,
            "windows": about.windows if about else {},
            "bytes": state.size_bytes,
            "needed": list(state.needed),
        }

    def draw(console: Console) -> None:
        table = Table("patch set", "dataset", "made", "windows", "MB", "needed, because")
        for state in states:
            row = plain(state)
            windows = (
                ", ".join(f"{split} {row['windows'][split]}" for split in SPLITS if split in row["windows"])
                or "unfinished"
            )
            size = f"{state.size_bytes / 1e6:,.0f}"
            cells = (row["dataset_version"] or "", (row["created"] or "")[:16].replace("T", " "), windows, size)
            table.add_row(state.id, *cells, "; ".join(state.needed) or "-")
        console.print(table)
        if pruned is not None:
            names = ", ".join(state.id for state in pruned.removed) or "none"
            console.print(f"Removed: {names} ({pruned.freed_bytes / 1e6:,.0f} MB). Kept: {len(pruned.kept)}.")

    value: dict[str, Any] = {"patch_sets": [plain(state) for state in states]}
    if pruned is not None:
        value |= {"removed": [state.id for state in pruned.removed], "freed_bytes": pruned.freed_bytes}
    print_json_or(draw, value, as_json)
