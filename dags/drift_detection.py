"""Compare the scenes of a night with the data the champion was trained on.

list scenes → profile (mapped) → test → report → DriftSensor → open the drift episode → trigger model_retraining.
Runs nightly over the scenes ingested in the schedule's interval; by hand, the form names the night and the
scenes (by dataset version or time of ingest). No drift, or an episode that is open already: what comes after the
sensor is skipped.
"""

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from satseg_airflow import dag_params
from satseg_airflow.defaults import project_dag
from satseg_airflow.nights import NIGHT, NIGHT_TEMPLATES, SINCE, UNTIL
from satseg_airflow.notifier import DriftNotifier
from satseg_airflow.projects import projects
from satseg_airflow.schedules import for_intervals
from satseg_airflow.sensors.drift import DriftSensor
from satseg_airflow.tasks import param, scene_groups, scenes_of, stage_over_scenes, stage_task

for project in projects():
    with project_dag(
        project,
        "drift_detection",
        __doc__,
        schedule=for_intervals(project.schedule.drift),
        params=dag_params.drift(),
        templates=NIGHT_TEMPLATES,
    ):
        chosen = ["--dataset-version", param("dataset_version"), "--since", SINCE, "--until", UNTIL]
        listed = stage_task(project, "scenes", chosen, task_id="list_scenes")
        profile = stage_over_scenes(
            project, "drift-profile", scene_groups(listed.output), ["--night", NIGHT], task_id="profile"
        )
        # none_failed: a night without new scenes is tested too, and says so
        scenes = scenes_of("list_scenes")
        night = ["{{ '--force' if params.replace else '' }}", "--may-be-empty", "--night", NIGHT]
        test = stage_task(project, "drift-test", night, task_id="test", scenes=scenes, trigger_rule="none_failed")
        report = stage_task(project, "drift-report", ["--night", NIGHT], task_id="report")
        sensor = DriftSensor(
            task_id="drift_sensor",
            project=project.name,
            night=NIGHT,
            poke_interval=30,
            timeout=timedelta(hours=1),
            on_success_callback=[DriftNotifier(project.name, NIGHT)] if project.drift.alert else [],
        )
        episode = stage_task(project, "drift-episode", ["--action", "open", "--night", NIGHT], task_id="open_episode")
        retrain = TriggerDagRunOperator(
            task_id="trigger_retraining",
            trigger_dag_id=f"{project.name}.model_retraining",
            trigger_run_id=f"drift__{project.name}__{NIGHT}",
            conf={"night": NIGHT, "evidence": test.output},
            logical_date=None,
            skip_when_already_exists=True,
            doc_md="Starts model_retraining once per night, with the drift test's result as evidence.",
        )
        profile >> test >> report >> sensor >> episode >> retrain
