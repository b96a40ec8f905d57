"""Command `satseg doctor`: what this machine lacks."""

from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from satseg.cli import machine, surroundings
from satseg.cli.app import JsonOption, print_json_or
from satseg.cli.finding import Finding, State
from satseg.config.settings import Settings, settings

MARKS: dict[State, str] = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def examine(where: Settings) -> list[Finding]:
    """Look at everything; nothing is changed, and no answer is waited for longer than seconds."""
    return [
        machine.python(),
        machine.packages(),
        machine.airflow(),
        machine.git(),
        machine.cores(),
        machine.memory(),
        machine.disk(where),
        machine.graphics(),
        surroundings.projects(where),
        surroundings.secrets(),
        surroundings.docker(where),
        surroundings.mlflow(where),
        surroundings.dvc_remote(where),
    ]


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine lacks, and how to mend it; exit code 1 when something satseg needs is missing.

    Examples: `satseg doctor` · `satseg doctor --json | jq '.[] | select(.state == "missing")'`
    """
    findings = examine(settings())
    print_json_or(lambda console: _draw(console, findings), [asdict(finding) for finding in findings], as_json)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def _draw(console: Console, findings: list[Finding]) -> None:
    table = Table("what", "state", "found", "how to mend it", box=None)
    for finding in findings:
        table.add_row(finding.what, MARKS[finding.state], finding.found, finding.mend)
    console.print(table)
