"""The human decision in model_promotion, where a project asks for one."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, Param

from satseg.config.project import ProjectConfig
from satseg_airflow.tasks import param, result_of

GATES = "ti.xcom_pull(task_ids='gates')"
BODY = """
{{% macro number(value) -%}}
{{{{ '%.3g' % value if value is not none else '–' }}}}
{{%- endmacro -%}}
{{{{ {gates}['message'] }}}}

| gate | outcome | value | bound | evidence |
|---|---|---|---|---|
{{% for gate in {gates}['gates'] -%}}
| {{{{ gate.name | replace('_', ' ') }}}} | **{{{{ gate.outcome }}}}** | {{{{ number(gate.value) }}}} \
| {{{{ number(gate.bound) }}}} | {{{{ gate.evidence | replace('|', '/') }}}} |
{{% endfor %}}
{{% for name, address in ({gates}['links'] or {{}}).items() -%}}
- {{{{ name }}}}: {{{{ '<' ~ address ~ '>' if address.startswith('http') else '`' ~ address ~ '`' }}}}
{{% endfor %}}
Side by side with the champion: `satseg models compare champion {version} -p {project}`

No answer within {hours:g} hours counts as Reject. A rejected version stays registered and can be promoted later.
"""


class PromotionApproval(ApprovalOperator):
    """Asks for Approve or Reject; either answer goes on, because the promote stage writes a refusal down too.

    Args:
        only_when_unsure: Ask only when a gate has not enough evidence; pass at once otherwise.
    """

    def __init__(self, *, only_when_unsure: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only_when_unsure = only_when_unsure

    def execute(self, context: Context) -> Any:
        """Wait for a person, or pass when none is needed."""
        gates = context["ti"].xcom_pull(task_ids="gates")
        if self.only_when_unsure and not gates["undecided"]:
            self.log.info("Every gate has its evidence: nobody needs to be asked.")
            return {"chosen_options": [self.APPROVE], "params_input": {}, "responded_by_user": {"name": "gates"}}
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Hand the answer on."""
        return HITLOperator.execute_complete(self, context, event)  # without skipping what comes after a Reject


def approval_task(project: ProjectConfig) -> ApprovalOperator:
    """Return the task that asks a person in the Airflow UI (Required Actions)."""
    hours = project.promotion.answer_within_hours
    body = BODY.format(gates=GATES, hours=hours, project=project.name, version=result_of("gates", "version"))
    return PromotionApproval(
        task_id="approval",
        only_when_unsure=project.promotion.approval == "unsure",
        subject=f"Promote version {result_of('gates', 'version')} of {project.name} to champion?",
        body=body,
        defaults=ApprovalOperator.REJECT,
        params={"why": Param("", type="string", title="Why", description="Kept with the decision.")},
        response_timeout=timedelta(hours=hours),
        execution_timeout=None,  # the operator would take it for the time to answer
        doc_md="Asks a person. Reject, or no answer in time, refuses the version; the audit log says who and why.",
    )


ASKED = "dag_run.triggering_user_name"
GATES_ASKED = f"{{{{ 'gates, asked by ' ~ {ASKED} if {ASKED} else 'gates' }}}}"
ANSWER = "ti.xcom_pull(task_ids='approval')"
WHO = f"(({ANSWER} or {{}}).get('responded_by_user') or {{'name': 'nobody, for no answer came in time'}})['name']"


def reason(project: ProjectConfig) -> str:
    """Return the template of why: the words of who answered, otherwise the form's."""
    if project.promotion.approval == "auto":
        return param("reason")
    return f"{{{{ (({ANSWER} or {{}}).get('params_input') or {{}}).get('why') or params.reason or '' }}}}"


def answered_by(project: ProjectConfig) -> list[str]:
    """Return the arguments that say who approved or rejected: a user of Airflow, or the gates and who asked them."""
    if project.promotion.approval == "auto":
        return ["--approved-by", GATES_ASKED]
    approved = f"({ANSWER} or {{}}).get('chosen_options') == ['{ApprovalOperator.APPROVE}']"
    return [
        "--approved-by", f"{{{{ {WHO} if {approved} else '' }}}}",
        "--rejected-by", f"{{{{ '' if {approved} else {WHO} }}}}",
    ]  # fmt: skip
