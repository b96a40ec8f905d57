"""Retrain the champion on data that has changed.

ingest newly labelled scenes → patch → train from the champion → evaluate the new model and the champion on the
new patch set → register as challenger → publish the *challenger* asset, which starts model_promotion. Started by
drift_detection, or by hand. Publishes neither *dataset* nor *patches*, so that nothing else starts.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import param, patch_tasks, result_of, stage_task

for project in projects():
    with project_dag(project, "model_retraining", __doc__, params=dag_params.retraining(project)):
        ingest = stage_task(project, "ingest", [param("source")])
        # none_failed: without new labels the newest dataset version is what there is
        plan, finalise = patch_tasks(project, result_of("ingest", "dataset_version"), trigger_rule="none_failed")
        patch_set = ["--patch-set", result_of("finalise", "patch_set")]
        slots = {"pool_slots": project.training.gpus}
        train = stage_task(project, "train", [*patch_set, "--init-from", "champion"], **slots)
        new = stage_task(project, "evaluate", [result_of("train", "run_id"), *patch_set], task_id="evaluate_new")
        old = stage_task(project, "evaluate", ["champion", *patch_set], task_id="evaluate_champion")
        register = stage_task(project, "register", [result_of("train", "run_id")])
        publish = PublishOperator(
            task_id="publish_challenger",
            asset=assets_of(project.name).challenger,
            version=result_of("register", "version"),
            changed="{{ ti.xcom_pull(task_ids='register')['decision'] == 'registered' }}",
            made_by="register",
            note={"night": param("night")},
        )
        ingest >> plan
        finalise >> train >> [new, old] >> register >> publish
