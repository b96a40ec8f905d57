"""Retrain the champion on data that has changed.

ingest → count new labels → (too few: select windows → wait for annotators → ingest theirs) → patch → train from the
champion, replaying old data → evaluate the new model and the champion on the new patch set → keep the evidence →
register as challenger → publish the *challenger* asset, which starts model_promotion. Started by drift_detection, or by
hand. Publishes neither *dataset* nor *patches*, so that nothing else starts.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.label_tasks import DATASET_VERSION, label_tasks
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import param, patch_tasks, result_of, stage_task

for project in projects():
    with project_dag(project, "model_retraining", __doc__, params=dag_params.retraining(project)):
        ingest = stage_task(project, "ingest", [param("source")])
        count, learn = label_tasks(project)
        # none_failed: nobody was asked where there are labels enough
        plan, finalise = patch_tasks(project, DATASET_VERSION, trigger_rule="none_failed")
        patch_set = ["--patch-set", result_of("finalise", "patch_set")]
        run = result_of("train", "run_id")
        train = stage_task(project, "train", [*patch_set, "--init-from", "champion"], pool_slots=project.training.gpus)
        new = stage_task(project, "evaluate", [run, *patch_set], task_id="evaluate_new")
        old = stage_task(project, "evaluate", ["champion", *patch_set], task_id="evaluate_champion")
        beside = ["--champion", result_of("evaluate_champion", "run_id"), "--night", param("night")]
        evidence = stage_task(project, "drift-evidence", [run, *patch_set, *beside], task_id="evidence")
        register = stage_task(project, "register", [run])
        publish = PublishOperator(
            task_id="publish_challenger",
            asset=assets_of(project.name).challenger,
            version=result_of("register", "version"),
            changed="{{ ti.xcom_pull(task_ids='register')['decision'] == 'registered' }}",
            made_by="register",
            note={"night": param("night")},
        )
        ingest >> count
        learn >> plan
        finalise >> train >> [new, old] >> evidence >> register >> publish
