"""The `satseg` program: shared options, running a stage, and turning errors into exit codes."""

import contextlib
import importlib.metadata
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from satseg.cli.device import device_for
from satseg.config.project import ProjectConfig, load_project
from satseg.config.settings import settings
from satseg.errors import ExitCode, InterruptedRunError, SatsegError
from satseg.progress import say
from satseg.stages import Result, Spec
from satseg.storage.atomic import write_json
from satseg.storage.layout import Workspace

INTERRUPTED = 128 + signal.SIGINT
PIPE_WIDTH = 1000
STOPPED = "Stopped. Nothing is half-written; run the same command again to go on."

S = TypeVar("S", bound=Spec)
R = TypeVar("R", bound=Result)

ProjectOption = Annotated[str | None, typer.Option("--project", "-p", help="Project name or YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the project file; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
ResultOption = Annotated[Path | None, typer.Option("--result", metavar="FILE", help="Also write that object to FILE.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Do again what a content hash says is done.")]
OnlyScenesOption = Annotated[
    list[str] | None, typer.Option("--scene", metavar="ID", help="Only this scene; repeatable.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"satseg {importlib.metadata.version('satseg')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
]


class DecidedAgainst(Exception):  # noqa: N818 - a decision, not an error
    """Carries a result whose decision is 'no' (exit code 4) to `main`; not an error."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.message)
        self.result = result


def project_and_workspace(project: str | None, overrides: list[str] | None = None) -> tuple[ProjectConfig, Workspace]:
    """Resolve `--project` and `--set` and the workspace of the settings."""
    where = settings()
    what = load_project(project or where.project, where.projects_dir, tuple(overrides or ()))
    return what, Workspace(where.workspace)


def _stop(signum: int, frame: FrameType | None) -> None:
    # a second SIGTERM during clean-up must not interrupt it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise InterruptedRunError("Told to stop (SIGTERM). Nothing is half-written; run the same command again to go on.")


def run_stage(  # noqa: PLR0917
    run: Callable[[S, Workspace], R],
    spec: S,
    workspace: Workspace,
    as_json: bool = False,
    result_file: Path | None = None,
    decided_against: Callable[[R], bool] = lambda result: False,
) -> R:
    """Run one stage, write its result where asked, and exit 4 when the decision is 'no'."""
    signal.signal(signal.SIGTERM, _stop)
    # libraries print hints; stdout belongs to the result
    with contextlib.redirect_stdout(sys.stderr), device_for(spec, workspace):
        result = run(spec, workspace)
    plain = result.model_dump(mode="json")
    if result_file is not None:
        write_json(result_file, plain)
    for warning in result.warnings:
        say(f"warning: {warning}")
    if as_json:
        print(json.dumps(plain, ensure_ascii=False))
    else:
        print(result.message)
    if decided_against(result):
        raise DecidedAgainst(result)
    return result


def print_json_or(text: Callable[[Console], None], value: Any, as_json: bool) -> None:
    """Print a value as JSON, or let `text` draw it for people; for reading commands."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False))
    else:
        # a pipe has no width; cut cells would be lost to whoever reads it
        text(Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH))


def build() -> typer.Typer:
    """Assemble the program from its command groups."""
    from satseg.cli import (
        datasets,
        demo_scenes,
        doctor,
        drift,
        export,
        inference,
        lineage,
        patches,
        registry,
        selection,
        serving,
        training,
        tuning,
    )

    app = typer.Typer(
        name="satseg",
        help="Turn satellite, aerial and drone scenes into maps that stay right.\n\n"
        "`--debug` with any command prints the traceback of an error.\n\n"
        "Examples: `satseg ingest ~/scenes -p buildings` · `satseg patch -p buildings` · `satseg train -p buildings`",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )

    @app.callback()
    def program(version: VersionOption = False) -> None:
        pass

    groups = (
        demo_scenes,
        datasets,
        patches,
        training,
        tuning,
        registry,
        export,
        inference,
        serving,
        drift,
        selection,
        lineage,
        doctor,
    )
    for group in groups:
        group.register(app)
    return app


def main(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 - one return per outcome
    """Run `satseg` and return its exit code; a traceback is printed only with `--debug`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        outcome = build()(args=arguments, standalone_mode=False, prog_name="satseg")
        if outcome == INTERRUPTED:  # Typer turns Ctrl-C into this
            say(STOPPED)
        return outcome if isinstance(outcome, int) else int(ExitCode.DONE)
    except DecidedAgainst:
        return int(ExitCode.DECIDED_AGAINST)
    except typer.Exit as stop:
        return stop.exit_code
    except SatsegError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {error}")
        return int(error.exit_code)
    except KeyboardInterrupt:
        say(STOPPED)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except Exception as error:  # noqa: BLE001 - the last boundary before the user
        if (show := getattr(error, "show", None)) is not None:  # click's usage errors draw themselves
            show()
            return int(ExitCode.USAGE)
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno is not None:
            say(
                f"error: {error.strerror}: {error.filename or 'while writing'}. "
                "Free space, or mend the path or its permissions."
            )
            # a path that is no folder stays one, however often the command is tried again
            lasting = isinstance(error, NotADirectoryError | IsADirectoryError)
            return int(ExitCode.USAGE if lasting else ExitCode.TEMPORARY)
        say(f"error: unexpected {type(error).__name__}: {error}. Run with --debug for the traceback and report it.")
        return int(ExitCode.UNEXPECTED)
