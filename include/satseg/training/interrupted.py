"""Finding the training that was interrupted last."""

from pathlib import Path

from satseg.errors import LockHeldError, NotFoundError
from satseg.stages import TrainSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace
from satseg.training.run_folder import STATE_FILE, RunFolder


def interrupted_training(workspace: Workspace, project_name: str) -> TrainSpec:
    """Return what the project's newest interrupted training trains; trials of a search and running ones do not count.

    Raises:
        NotFoundError: there is none.
    """
    states = sorted(workspace.runs.glob(f"*/{STATE_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for state in states:
        spec = RunFolder(state.parent).interrupted()
        if spec is None or spec.project.name != project_name or spec.trial is not None:
            continue
        try:
            with exclusive(training_lock(workspace, state.parent.name), "This training", timeout_s=0):
                return spec
        except LockHeldError:
            continue
    raise NotFoundError(
        f"No interrupted training of project '{project_name}' in {workspace.runs}. Start one with `satseg train`."
    )


def training_lock(workspace: Workspace, run_key: str) -> Path:
    """Return the lock file of a training."""
    return workspace.lock(f"train-{run_key}")
