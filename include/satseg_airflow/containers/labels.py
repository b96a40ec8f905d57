"""Labels that tell which stage a container belongs to, in which workspace, and for which Airflow task."""

from collections.abc import Mapping

from satseg.config.settings import Settings
from satseg_airflow.containers.place import workspace_source
from satseg_airflow.runners import Job, TaskKey

WORKSPACE, SCRATCH, STAGE = "satseg.workspace", "satseg.scratch", "satseg.stage"


def labels_of(job: Job, where: Settings) -> dict[str, str]:
    """Return the labels of a stage's container."""
    return {
        WORKSPACE: workspace_source(where),
        SCRATCH: job.scratch.name,
        STAGE: job.stage,
        **task_labels(job.task),
    }


def task_labels(task: TaskKey) -> dict[str, str]:
    """Return the labels that all tries of a task instance share."""
    return {
        "satseg.dag_id": task.dag_id,
        "satseg.run_id": task.run_id,
        "satseg.task_id": task.task_id,
        "satseg.map_index": str(task.map_index),
    }


def task_of(labels: Mapping[str, str]) -> str:
    """Return the task of a container, for people."""
    index = labels.get("satseg.map_index", "-1")
    name = ".".join(labels.get(f"satseg.{part}", "?") for part in ("dag_id", "task_id"))
    return f"{name}{'' if index == '-1' else f'[{index}]'} of run {labels.get('satseg.run_id', '?')}"
