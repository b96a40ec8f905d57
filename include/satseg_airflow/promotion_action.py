"""What a run of model_promotion is for: a promotion, or going back to the champion before."""

from typing import Any

from airflow.sdk import task

DECIDED = "(ti.xcom_pull(task_ids='promote') or ti.xcom_pull(task_ids='rollback') or {})"
VERSION = f"{{{{ {DECIDED}['version'] }}}}"
MOVED = f"{{{{ {DECIDED}['decision'] in ('promoted', 'rolled_back') }}}}"
ASKED_BY = "{{ dag_run.triggering_user_name or '' }}"


@task.branch(task_id="action", doc_md="Leads to the gates, or to the rollback where the form asks for it.")
def chosen_action(params: dict[str, Any] | None = None) -> str:
    """Return the task that the form's choice leads to; a run that an asset started promotes."""
    return "rollback" if (params or {}).get("action") == "rollback" else "gates"
