"""Train a model on a patch set.

train (pool `gpu`) → evaluate on the held-out blocks → register as challenger → publish the *challenger* asset,
which starts model_promotion. The form shows the project's own values; what is changed there holds for this run.
Where the project has a search space, plan → trials (mapped, each with a device of its own) → best stand for train.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import override, param, result_of, stage_task, training_task

FORM_KEYS = ("architecture", "backbone", "epochs", "steps_per_epoch", "batch_size", "learning_rate")

for project in projects():
    with project_dag(project, "model_training", __doc__, params=dag_params.training(project)):
        overrides = [word for key in FORM_KEYS for word in override(f"training.{key}", key)]
        origin = ["--patch-set", param("patch_set"), "--init-from", param("init_from")]
        train = training_task(project, [*origin, *overrides])
        run = result_of(train.task_id, "run_id")
        evaluate = stage_task(project, "evaluate", [run, "--patch-set", result_of(train.task_id, "patch_set")])
        register = stage_task(project, "register", [run])
        publish = PublishOperator(
            task_id="publish_challenger",
            asset=assets_of(project.name).challenger,
            version=result_of("register", "version"),
            changed="{{ ti.xcom_pull(task_ids='register')['decision'] == 'registered' }}",
            made_by="register",
        )
        train >> evaluate >> register >> publish
