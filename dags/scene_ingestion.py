"""Bring new scenes and labels into the dataset.

ingest → publish the *dataset* asset, which starts patch_generation. Nothing is published when the dataset
version did not change. Bad scenes are quarantined with their reasons; the good ones go on.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.schedules import at_times
from satseg_airflow.tasks import override, param, result_of, stage_task

for project in projects():
    with project_dag(
        project,
        "scene_ingestion",
        __doc__,
        schedule=at_times(project.schedule.ingestion),
        params=dag_params.ingestion(project),
    ):
        arguments = [
            param("source"),
            *override("annotations.strict", "strict"),
            "{{ '--retry-quarantine' if params.retry_quarantine else '--no-retry-quarantine' }}",
            "{{ '--force' if params.force else '--no-force' }}",
        ]
        ingest = stage_task(project, "ingest", arguments)
        ingest >> PublishOperator(
            task_id="publish_dataset",
            asset=assets_of(project.name).dataset,
            version=result_of("ingest", "dataset_version"),
            changed=result_of("ingest", "changed"),
            made_by="ingest",
        )
