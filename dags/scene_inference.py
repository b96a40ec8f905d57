"""Predict scenes with a model version.

list scenes (those this version has not predicted yet, or the form's) → predict (mapped, pool `gpu`). Where the
project sets `inference.split_mpix`, larger scenes go through plan_parts → predict_part (mapped, pool `gpu`) before, and
predict joins their parts. Started by a new champion, by the project's schedule, or by hand.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.projects import projects
from satseg_airflow.scene_parts import parts_of_scenes
from satseg_airflow.schedules import on_asset_or_at_times
from satseg_airflow.tasks import scene_groups, stage_over_scenes, stage_task

MODEL = "chosen_version('model')"

for project in projects():
    champion = assets_of(project.name).champion
    schedule = on_asset_or_at_times(champion, project.schedule.inference)
    with project_dag(
        project,
        "scene_inference",
        __doc__,
        schedule=schedule,
        params=dag_params.inference(),
    ):
        listed = stage_task(
            project, "scenes", ["--not-predicted-by", f"{{{{ model_label({MODEL}) }}}}"], task_id="list_scenes"
        )
        groups, model = scene_groups(listed.output), f"{{{{ {MODEL} }}}}"
        predict = stage_over_scenes(
            project, "predict", groups, ["--model", model], task_id="predict", trigger_rule="none_failed"
        )
        if project.inference.split_mpix is not None:
            parts_of_scenes(project, groups, model) >> predict
