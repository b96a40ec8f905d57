"""Tables of the registry's commands."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from satseg.cli.app import PIPE_WIDTH
from satseg.stages import EvaluateResult, Gate, Interval, Scores

if TYPE_CHECKING:
    from satseg.registry.overview import Comparison, ModelDetail, ModelRow

OUTCOME_COLOURS = {"passed": "green", "failed": "red", "not enough evidence": "yellow"}
SCORE_COLUMNS = ("dice", "precision", "recall", "boundary_iou", "object_f1", "ece", "iou_all_positive")


def show(table: RenderableType) -> None:
    """Print something on stdout; uncut where that is no terminal."""
    (Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)).print(table)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _between(interval: Interval | None) -> str:
    return "–" if interval is None else f"{_number(interval.low)} to {_number(interval.high)}"


def scores(result: EvaluateResult) -> Table:
    """Return the scores of an evaluation: all test blocks, reference and new blocks, classes, scenes."""
    table = Table(title=f"Test blocks of patch set {result.patch_set}")
    table.add_column("where")
    table.add_column("iou", justify="right")
    table.add_column("interval", justify="right")
    for name in (*SCORE_COLUMNS, "pixels"):
        table.add_column(name.replace("_", " "), justify="right")
    parts: list[tuple[str, EvaluateResult | Scores | None]] = [
        ("all", result),
        ("reference blocks", result.reference),
        ("new blocks", result.new),
        *((f"class {name}", of_class) for name, of_class in result.per_class.items()),
        *((f"scene {name}", of_scene) for name, of_scene in result.per_scene.items()),
    ]
    for where, part in parts:
        if part is not None:
            pixels = f"{part.pixels:,}" if isinstance(part, Scores) else ""
            numbers = (_number(getattr(part, name)) for name in SCORE_COLUMNS)
            table.add_row(where, _number(part.iou), _between(part.intervals.get("iou")), *numbers, pixels)
    return table


def gates(results: list[Gate]) -> Table:
    """Return the gates of a promotion with their evidence."""
    table = Table("gate", "value", "bound", "evidence", title="Gates")
    for gate in results:
        mark = f"[{OUTCOME_COLOURS[gate.outcome]}]{gate.outcome}[/]"
        name = gate.name.replace("_", " ")
        value, bound = ("–" if number is None else f"{number:.4g}" for number in (gate.value, gate.bound))
        table.add_row(f"{mark} {name}", value, bound, escape(gate.evidence))
    return table


def draw_list(console: Console, project: str, rows: "list[ModelRow]") -> None:
    """Print the versions of a project."""
    if not rows:
        console.print(f"Project '{project}' has no registered version yet: train a model and `satseg register RUN`.")
        return
    table = Table("version", "stage", "test IoU", "data", "run", "decision", title=f"Versions of {project}")
    for row in rows:
        table.add_row(
            f"v{row.version}{''.join(' ' + alias for alias in row.aliases)}",
            row.stage,
            _number(row.test_iou),
            row.dataset_version or "–",
            row.run_id[:12],
            (row.decision or "–").replace("_", " "),
        )
    console.print(table)


def draw_detail(console: Console, detail: "ModelDetail") -> None:
    """Print one version."""
    aliases = f" ({', '.join(detail.aliases)})" if detail.aliases else ""
    console.print(f"[bold]v{detail.version}[/]{aliases}, stage {detail.stage}, run {detail.run_id}")
    if detail.champion_since:
        console.print(
            f"champion since {detail.champion_since:%Y-%m-%d %H:%M} UTC: {detail.champion_because}", markup=False
        )
        back = (
            f"`satseg rollback` returns to v{detail.goes_back_to}" if detail.goes_back_to else "no champion before it"
        )
        console.print(f"to go back: {back}", markup=False)
    elif detail.reason:
        console.print(f"{detail.decision}: {detail.reason}", markup=False)
    console.print(Markdown(detail.description))
    for report in detail.reports.values():
        console.print(scores(report))
    if detail.history:
        table = Table("time", "who", "action", "from", "to", "reason", title="Decisions")
        for entry in detail.history:
            before = f"v{entry.from_version}" if entry.from_version else "–"
            when = f"{entry.time:%Y-%m-%d %H:%M:%S}"
            table.add_row(when, escape(entry.who), entry.action, before, f"v{entry.to_version}", escape(entry.reason))
        console.print(table)


def draw_comparison(console: Console, comparison: "Comparison") -> None:
    """Print two versions side by side."""
    first, second = (
        f"v{row.version}{''.join(' @' + alias for alias in row.aliases)}"
        for row in (comparison.first, comparison.second)
    )
    if comparison.scores:
        title = f"Scores on the same test blocks of patch set {comparison.patch_set}"
        table = Table("where", "score", first, second, "difference", "95% interval", "blocks", title=title)
        for pair in comparison.scores:
            difference = f"{pair.second - pair.first:+.3f}"
            known = pair.low is not None and pair.high is not None
            interval = f"{pair.low:+.3f} to {pair.high:+.3f}" if known else "–"
            blocks = "–" if pair.blocks is None else str(pair.blocks)
            table.add_row(
                escape(pair.where), pair.score, _number(pair.first), _number(pair.second), difference, interval, blocks
            )
        console.print(table)
    else:
        patch_set = comparison.second.patch_set or "ID"
        console.print(
            "No scores on the same patch set yet. Measure both: "
            f"satseg evaluate {comparison.first.version} --patch-set {patch_set}; "
            f"satseg evaluate {comparison.second.version} --patch-set {patch_set}"
        )
    table = Table("what", first, second, title="What differs")
    for fact in comparison.differences:
        table.add_row(fact.what, escape(fact.first or "–"), escape(fact.second or "–"))
    console.print(table)
