"""Cut a dataset version into a patch set.

plan → extract (mapped per scene) → finalise (split check, statistics) → publish the *patches* asset, and beside it a
preview: a contact sheet and a map of the splits, in MLflow. Started by a new dataset version, or by hand; a patch set
that exists is not made again.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.preview_link import PreviewLink
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import patch_tasks, result_of, stage_task

for project in projects():
    assets = assets_of(project.name)
    with project_dag(project, "patch_generation", __doc__, schedule=[assets.dataset], params=dag_params.patches()):
        plan, finalise = patch_tasks(project, "{{ chosen_version('dataset_version') }}")
        finalise >> PublishOperator(
            task_id="publish_patches",
            asset=assets.patches,
            version=result_of("finalise", "patch_set"),
            changed=result_of("finalise", "changed"),
            made_by="finalise",
            note={"dataset_version": result_of("finalise", "dataset_version")},
        )
        preview = stage_task(
            project,
            "patch",
            ["--step", "finalise", "--dataset-version", result_of("finalise", "dataset_version"), "--preview"],
            task_id="preview",
        )
        preview.operator_extra_links = (PreviewLink(),)
        finalise >> preview
