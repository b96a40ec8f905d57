"""The human decision in model_promotion, where a project asks for one."""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator

from satseg.config.project import ProjectConfig
from satseg_airflow.tasks import result_of

ANSWER_WITHIN = timedelta(days=7)
BODY = """
The gates say: {message}

{{% for gate in ti.xcom_pull(task_ids='gates')['gates'] -%}}
- {{{{ 'passed' if gate.passed else 'FAILED' }}}} · {{{{ gate.name }}}}: {{{{ gate.evidence }}}}
{{% endfor %}}
No answer within {days} days counts as Reject; the version stays registered and can be promoted later.
"""


def approval_task(project: ProjectConfig) -> ApprovalOperator:
    """Return the task that asks a person in the Airflow UI (Required Actions)."""
    return ApprovalOperator(
        task_id="approval",
        subject=f"Promote version {result_of('gates', 'version')} of {project.name} to champion?",
        body=BODY.format(message=result_of("gates", "message"), days=ANSWER_WITHIN.days),
        defaults="Reject",
        response_timeout=ANSWER_WITHIN,
        execution_timeout=None,  # the operator would take it for the time to answer
        doc_md="Asks a person. Reject, or no answer in time, skips the promotion.",
    )


def approved_by(project: ProjectConfig) -> str:
    """Return the template of who approved: a user of Airflow, or the gates alone."""
    if project.promotion.approval == "auto":
        return "gates"
    return "{{ (ti.xcom_pull(task_ids='approval')['responded_by_user'] or {'name': 'nobody'})['name'] }}"
