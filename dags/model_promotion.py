"""Decide whether a model version becomes champion.

gates → approval by a person (only where the project file says `promotion.approval: manual`) → promote → publish
the *champion* asset, which starts scene_inference. A version that does not pass the gates is refused: what comes
after is skipped, the reasons are in the XCom of `gates`. A promotion also closes an open drift episode.
"""

from satseg_airflow import dag_params
from satseg_airflow.approval import approval_task, approved_by
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.tasks import param, result_of, stage_task

for project in projects():
    assets = assets_of(project.name)
    with project_dag(project, "model_promotion", __doc__, schedule=[assets.challenger], params=dag_params.promotion()):
        gates = stage_task(project, "promote", ["{{ chosen_version('version') }}", "--check"], task_id="gates")
        version = result_of("gates", "version")
        reason = ["--approved-by", approved_by(project), "--reason", param("reason")]
        promote = stage_task(project, "promote", [version, *reason])
        if project.promotion.approval == "manual":
            gates >> approval_task(project) >> promote
        promoted = "{{ ti.xcom_pull(task_ids='promote')['decision'] == 'promoted' }}"
        publish = PublishOperator(
            task_id="publish_champion", asset=assets.champion, version=version, changed=promoted, made_by="promote"
        )
        close = stage_task(
            project,
            "drift-episode",
            ["--action", "close", "--reason", f"version {version} was promoted"],
            task_id="close_episode",
        )
        gates >> promote >> [publish, close]
