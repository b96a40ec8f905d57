"""Decide whether a model version becomes champion, or go back to the champion before.

action → gates → approval by a person (where the project file says `promotion.approval: manual`, or `unsure` and a gate
has not enough evidence) → promote → publish the *champion* asset, which starts scene_inference. A version that does not
pass the gates is refused: what comes after is skipped, the reasons are in the XCom of `gates`. A rejected one, or one
that nobody answered for in time, is refused by `promote`. A promotion also closes an open drift episode.

action → rollback, when the form says so, makes the previous champion champion again in one step and publishes it.
"""

from satseg_airflow import dag_params
from satseg_airflow.approval import GATES_ASKED, answered_by, approval_task, reason
from satseg_airflow.assets import assets_of
from satseg_airflow.defaults import project_dag
from satseg_airflow.operators.publish import PublishOperator
from satseg_airflow.projects import projects
from satseg_airflow.promotion_action import ASKED_BY, MOVED, VERSION, chosen_action
from satseg_airflow.tasks import param, result_of, stage_task

for project in projects():
    assets = assets_of(project.name)
    with project_dag(project, "model_promotion", __doc__, schedule=[assets.challenger], params=dag_params.promotion()):
        asks = ["--approved-by", GATES_ASKED, "--reason", param("reason")]
        check = ["{{ chosen_version('version') }}", "--check", *asks]
        gates = stage_task(project, "promote", check, task_id="gates")
        version = result_of("gates", "version")
        promote = stage_task(project, "promote", [version, *answered_by(project), "--reason", reason(project)])
        if project.promotion.approval != "auto":
            gates >> approval_task(project) >> promote
        # the request: a rollback that is tried again must not go back two steps
        asked = ["--by", ASKED_BY, "--reason", param("reason"), "--request", "{{ run_id }}"]
        rollback = stage_task(project, "rollback", asked)
        publish = PublishOperator(
            task_id="publish_champion",
            asset=assets.champion,
            version=VERSION,
            changed=MOVED,
            made_by="promote",
            trigger_rule="none_failed_min_one_success",
        )
        close = stage_task(
            project,
            "drift-episode",
            ["--action", "close", "--reason", f"version {version} was promoted"],
            task_id="close_episode",
        )
        chosen_action() >> [gates, rollback]
        gates >> promote >> [publish, close]
        rollback >> publish
