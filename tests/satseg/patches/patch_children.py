"""Runs the stage in processes of their own, and kills them at a chosen moment."""

import importlib
import multiprocessing
import os
import signal

from patch_scenes import Versions, patch

from satseg.patches import plan
from satseg.storage.layout import Workspace

# forked from a clean server: a fork of the test process would inherit threads' locks of pyarrow and GDAL
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["patch_children"])
Kill = tuple[str, str, int]


def child(versions: Versions, workspace: Workspace, options: dict[str, object], kill: Kill | None) -> None:
    """Run the stage; with (module, function, n) the process kills itself instead of the function's n-th call."""
    plan.open_version = versions.open  # type: ignore[assignment]
    if kill is not None:
        name, function, number = kill
        module = importlib.import_module(name)
        real, calls = getattr(module, function), []

        def deadly(*args: object, **kwargs: object) -> object:
            calls.append(1)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(module, function, deadly)
    patch(workspace, **options)


def run_children(
    versions: Versions, workspace: Workspace, *options: dict[str, object], kill: Kill | None = None
) -> list[int | None]:
    """Run one process per set of options side by side and return their exit codes."""
    processes = [CONTEXT.Process(target=child, args=(versions, workspace, each, kill)) for each in options]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]
