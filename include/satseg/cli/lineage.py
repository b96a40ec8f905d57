"""Commands of the lineage room."""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
