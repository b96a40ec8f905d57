"""Large scenes predicted by several mapped tasks, each a share of the rows, before one task joins them."""

from typing import Any

from airflow.sdk import XComArg, task
from airflow.sdk.definitions.mappedoperator import MappedOperator

from satseg.config.project import ProjectConfig
from satseg_airflow.operators.stage import StageOperator, stage_defaults
from satseg_airflow.tasks import PLANNING, stage_over_scenes


def parts_of_scenes(project: ProjectConfig, groups: XComArg, model: str) -> MappedOperator:
    """Add plan_parts (mapped per group of scenes) → predict_part (mapped per part); returns the last one.

    `model` is a template. Both are skipped when there is nothing to do, so what follows takes trigger rule none_failed.
    """
    planned = stage_over_scenes(
        project,
        "predict",
        groups,
        ["--plan", "--model", model],
        task_id="plan_parts",
        **PLANNING,
    )
    return StageOperator.partial(
        task_id="predict_part",
        stage="predict",
        project=project.name,
        map_index_template="{{ task.arguments[0] }} {{ task.arguments[2] }}",
        **stage_defaults("predict"),
    ).expand(arguments=part_arguments(planned.output, model))


@task(doc_md="Gives each mapped task its scene and its share of the rows.")
def part_arguments(planned: Any, model: str) -> list[list[str]]:
    """Return the arguments of each part of the planned scenes."""
    return [[scene, "--part", share, "--model", model] for result in planned for scene, share in result["parts"]]
