"""Command `satseg serve`."""

from typing import Annotated

import typer

from satseg.cli.app import ProjectOption, SetOption, project_and_workspace
from satseg.config.settings import settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    project: ProjectOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: SATSEG_SERVE_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: SATSEG_SERVE_PORT.")
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Answer single images over HTTP with the champion, whichever that is at the moment.

    A new champion is loaded beside the old one and takes over without a failed request. Keys, limits and the rest
    are SATSEG_SERVE_* settings. SIGTERM or Ctrl-C stops it once the requests under way are answered.

    Example: `satseg serve -p buildings --port 8600`
    """
    from satseg.serving.run import serve as run

    what, workspace = project_and_workspace(project, overrides)
    given = {"serve_host": host, "serve_port": port}
    where = settings().model_copy(update={name: value for name, value in given.items() if value is not None})
    run(what, workspace, where)
