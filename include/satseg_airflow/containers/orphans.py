"""Containers whose worker is gone: found by their labels and the worker's lock, and removed."""

import contextlib
import shutil
from collections.abc import Callable, Mapping

from docker.errors import APIError, NotFound

from docker import APIClient
from satseg.config.settings import Settings, settings
from satseg.errors import TemporaryError
from satseg.storage.layout import Workspace
from satseg_airflow.containers.engine import connected
from satseg_airflow.containers.labels import SCRATCH, STAGE, WORKSPACE, task_labels, task_of
from satseg_airflow.containers.life import is_alive
from satseg_airflow.containers.place import workspace_source
from satseg_airflow.runners import TaskKey

_BEING_REMOVED = 409


def remove_orphans(
    engine: APIClient, where: Settings, say: Callable[[str], None], starting: TaskKey | None = None
) -> int:
    """Remove the containers of this workspace whose worker is gone, and return how many there were.

    Args:
        engine: The connection.
        where: Names the workspace.
        say: Is told of each.
        starting: A task that is about to start; containers of its earlier tries go too, whoever watches them.
    """
    workspace = Workspace(where.workspace)
    removed = 0
    for container in labelled(engine, {WORKSPACE: workspace_source(where)}):
        labels = container["Labels"]
        earlier = starting is not None and task_labels(starting).items() <= labels.items()
        scratch = workspace.scratch / labels[SCRATCH]
        if not earlier and is_alive(scratch):
            continue
        if remove(engine, container["Id"]):
            removed += 1
            say(f"removed the container of stage {labels[STAGE]} left behind by {task_of(labels)}")
        if not is_alive(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
    return removed


def clear_workspace(workspace: Workspace) -> None:
    """Remove what killed workers left in a workspace whose Airflow is stopped; without an engine there is nothing."""
    where = settings().model_copy(update={"workspace": workspace.root})
    with contextlib.suppress(TemporaryError), connected(where.docker_url) as engine:
        remove_orphans(engine, where, lambda line: None)


def labelled(engine: APIClient, labels: Mapping[str, str]) -> list[dict[str, dict[str, str]]]:
    """Return the containers that carry these labels, running or not."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    return list(engine.containers(all=True, filters={"label": wanted}))


def remove(engine: APIClient, container: str) -> bool:
    """Kill and remove a container; False when it was gone or somebody else is at it."""
    try:
        engine.remove_container(container, force=True, v=True)
    except NotFound:
        return False
    except APIError as error:
        if error.status_code == _BEING_REMOVED:
            return False
        raise
    return True
