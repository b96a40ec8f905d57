"""The pieces the DAG files are wired from: a stage as a task, a stage mapped over scenes, and template snippets."""

from datetime import timedelta
from typing import Any

from airflow.sdk import XComArg, task
from airflow.sdk.definitions.mappedoperator import MappedOperator

from satseg.config.project import ProjectConfig
from satseg_airflow.operators.stage import StageOperator, stage_defaults
from satseg_airflow.pools import DEFAULT_QUEUE

# a step of a GPU stage that only plans or chooses needs no device
PLANNING = {"pool": "default_pool", "queue": DEFAULT_QUEUE, "execution_timeout": timedelta(minutes=30)}
MOST_MAPPED_TASKS = 1000  # Airflow's max_map_length is 1024


def param(name: str) -> str:
    """Return the template of a form's value; renders to '' when it was left empty."""
    return f"{{{{ params.{name} if params.{name} is not none else '' }}}}"


def override(key: str, name: str) -> list[str]:
    """Return the arguments that override a key of the project file by a form's value, if there is one."""
    return ["--set", f"{key}={param(name)}"]


def result_of(task_id: str, key: str) -> str:
    """Return the template of one key of a stage's result; renders to '' for null."""
    value = f"ti.xcom_pull(task_ids='{task_id}')['{key}']"
    return f"{{{{ {value} if {value} is not none else '' }}}}"


def scenes_of(task_id: str, key: str = "scenes") -> str:
    """Return the template of a stage's list of scenes."""
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}')['{key}'] | tojson }}}}"


def stage_task(project: ProjectConfig, stage: str, arguments: list[Any] | None = None, **more: Any) -> StageOperator:
    """Return the task that runs a stage once; its id is the stage's name unless `task_id` says otherwise."""
    more.setdefault("task_id", stage.replace("-", "_"))
    return StageOperator(stage=stage, project=project.name, arguments=arguments or [], **more)


def stage_over_scenes(
    project: ProjectConfig, stage: str, groups: XComArg, arguments: list[Any], **more: Any
) -> MappedOperator:
    """Return the mapped task that runs a stage for each group of scenes."""
    return StageOperator.partial(
        stage=stage,
        project=project.name,
        arguments=arguments,
        map_index_template="{{ task.scenes | join(', ') }}",
        **(stage_defaults(stage) | more),
    ).expand(scenes=groups)


@task(doc_md="Deals the listed scenes out to mapped tasks.")
def scene_groups(listed: Any, params: dict[str, Any] | None = None) -> list[list[str]]:
    """Deal scenes out: those the form names, otherwise the listed; `scenes_per_task` of the form (1 without) each."""
    form = params or {}
    return grouped(form.get("scenes") or listed["scenes"], form.get("scenes_per_task") or 1)


def grouped(scenes: list[str], size: int) -> list[list[str]]:
    """Cut a list into groups of `size`, or of more when there would be too many groups for Airflow."""
    size = max(size, -(-len(scenes) // MOST_MAPPED_TASKS))
    return [scenes[start : start + size] for start in range(0, len(scenes), size)]


def patch_tasks(project: ProjectConfig, dataset_version: str, **more: Any) -> tuple[StageOperator, StageOperator]:
    """Add plan → extract (mapped per scene) → finalise to the current DAG; returns the first and the last task."""
    plan = stage_task(
        project, "patch", ["--step", "plan", "--dataset-version", dataset_version], task_id="plan", **more
    )
    version = ["--dataset-version", result_of("plan", "dataset_version")]
    extract = stage_over_scenes(
        project, "patch", scene_groups(plan.output), ["--step", "extract", *version], task_id="extract"
    )
    # none_failed: when every scene was extracted before, there is nothing to map over
    finalise = stage_task(
        project, "patch", ["--step", "finalise", *version], task_id="finalise", trigger_rule="none_failed"
    )
    extract >> finalise
    return plan, finalise


def training_task(project: ProjectConfig, arguments: list[Any]) -> StageOperator:
    """Add one training to the current DAG, or plan → trials (mapped) → best where the project has a search space.

    Returns the task whose result names the run that goes on.
    """
    slots = {"pool_slots": project.training.gpus}
    if not project.search.space:
        return stage_task(project, "train", arguments, **slots)
    plan = stage_task(
        project, "tune", ["--step", "plan", "--trials", param("trials"), *arguments], task_id="plan", **PLANNING
    )
    trials = StageOperator.partial(
        task_id="trial",
        stage="tune",
        project=project.name,
        map_index_template="trial {{ task.arguments[-1] }}",
        **(stage_defaults("tune") | slots),
    ).expand(arguments=trial_arguments(plan.output))
    # all_done: trials that were killed for good are left out of the choice and do not block it
    best = stage_task(
        project,
        "tune",
        ["--step", "best", "--study", result_of("plan", "study")],
        task_id="best",
        trigger_rule="all_done",
        **PLANNING,
    )
    plan >> trials >> best
    return best


@task(doc_md="Gives each mapped trial its number.")
def trial_arguments(planned: Any) -> list[list[str]]:
    """Return the arguments of each trial of a planned search."""
    return [["--step", "trial", "--study", planned["study"], "--trial", str(n)] for n in range(planned["trials"])]
