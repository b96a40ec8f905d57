"""Register a run that was trained before, from a shell or elsewhere, as challenger.

evaluate on the held-out blocks → register → publish the *challenger* asset, which starts model_promotion. The form
names the MLflow run.
"""

from satseg_airflow import dag_params
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import param, result_of, stage_task

for project in projects():
    with project_dag(project, "model_registration", __doc__, params=dag_params.registration()):
        evaluate = stage_task(project, "evaluate", [param("run")])
        register = stage_task(project, "register", [param("run")])
        publish = PublishOperator(
            task_id="publish_challenger",
            asset=assets_of(project.name).challenger,
            version=result_of("register", "version"),
            changed="{{ ti.xcom_pull(task_ids='register')['decision'] == 'registered' }}",
            made_by="register",
        )
        evaluate >> register >> publish
