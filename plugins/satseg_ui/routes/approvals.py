"""Promotions that wait for a person: the questions and the answers."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg.stages import Gate
from satseg_ui import airflow_state
from satseg_ui.airflow_calls import call_airflow
from satseg_ui.forms import Reason
from satseg_ui.paging import Page, PageQuery
from satseg_ui.rights import Action, Readable, User, dag_id, permitted
from satseg_ui.routes.projects import RunId
from satseg_ui.work import json_answer, threaded

router = APIRouter(prefix="/projects/{project}/approvals", tags=["models"])
TASK = "approval"


class Question(airflow_state.Waiting):
    """A promotion that waits for a person."""

    version: str | None = Field(description="The version that would become champion.", examples=["3"])
    answer_until: datetime = Field(description="No answer until then counts as no.")
    gates: list[Gate]


class AnswerForm(BaseModel):
    """Yes or no."""

    model_config = ConfigDict(extra="forbid")

    approve: bool = Field(examples=[True])
    reason: Reason = ""


class Answered(BaseModel):
    """What was answered."""

    dag_run_id: str
    approved: bool
    by: str = Field(examples=["admin"])


@router.get("", summary="Promotions that wait for a person")
@threaded
def list_approvals(project: Readable, page: PageQuery) -> Page[Question]:
    """List the questions that nobody has answered, newest first."""
    asked = airflow_state.waiting_answers([dag_id(project.name, Action.APPROVE)])
    within = timedelta(hours=project.promotion.answer_within_hours)
    return page.of(asked, lambda one: _question(one, within))


@router.post("/{dag_run_id}", summary="Approve or reject", response_model=Answered)
async def answer(
    request: Request,
    dag_run_id: RunId,
    form: AnswerForm,
    user: User,
    project: Annotated[ProjectConfig, Depends(permitted(Action.APPROVE))],
) -> Response:
    """Answer a waiting promotion; the first answer counts, a second one gets 409."""
    dag, run = (quote(part, safe="") for part in (dag_id(project.name, Action.APPROVE), dag_run_id))
    path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{TASK}/-1/hitlDetails"
    body = {"chosen_options": ["Approve" if form.approve else "Reject"], "params_input": {"why": form.reason}}
    await call_airflow(request, "PATCH", path, body)
    return json_answer(Answered(dag_run_id=dag_run_id, approved=form.approve, by=user.get_name()), HTTPStatus.OK)


def _question(asked: airflow_state.Waiting, within: timedelta) -> Question:
    gates = airflow_state.result(asked.dag_id, asked.dag_run_id, "gates") or {}
    return Question(
        **asked.model_dump(),
        version=gates.get("version"),
        answer_until=asked.asked_at + within,
        gates=[
            Gate(**{name: gate[name] for name in Gate.model_fields if name in gate}) for gate in gates.get("gates", [])
        ],
    )
