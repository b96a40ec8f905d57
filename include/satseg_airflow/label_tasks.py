"""The part of model_retraining that sees to new labels: count them, and where they are too few ask annotators."""

from datetime import timedelta

from satseg.config.project import ProjectConfig
from satseg_airflow.operators.stage import StageOperator
from satseg_airflow.sensors.labels import LabelSensor
from satseg_airflow.tasks import override, param, result_of, scenes_of, stage_task

COUNTED, LEARNED = "count_labels", "ingest_labels"
# the newest of both: annotators' windows make a version of their own
DATASET_VERSION = (
    f"{{{{ (ti.xcom_pull(task_ids='{LEARNED}') or ti.xcom_pull(task_ids='{COUNTED}'))['dataset_version'] }}}}"
)


def label_tasks(project: ProjectConfig) -> tuple[StageOperator, StageOperator]:
    """Add count → select windows → wait for annotators → ingest; returns the first and the last task.

    With enough new labels, or nothing to ask about, all but the first are skipped. `DATASET_VERSION` is the template of
    the version to learn from, either way.
    """
    config = project.retraining
    ask = ["--night", param("night"), *override("retraining.min_new_scenes", "min_new_scenes")]
    # none_failed: an ingest that found nothing is skipped
    count = stage_task(project, "drift-labels", ask, task_id=COUNTED, trigger_rule="none_failed")
    request = result_of(COUNTED, "request")
    windows = ["--budget", str(config.ask_windows), "--name", request]
    select = stage_task(project, "select", windows, task_id="select_windows", scenes=scenes_of(COUNTED, "candidates"))
    wait = LabelSensor(
        task_id="wait_for_labels",
        project=project.name,
        request=request,
        wait_days=config.wait_days,
        poke_interval=60,
        execution_timeout=timedelta(days=config.wait_days + 1),  # Airflow counts the wait in the triggerer too
    )
    learn = stage_task(project, "ingest", task_id=LEARNED)
    count >> select >> wait >> learn
    return count, learn
