"""What Airflow's database says of runs, tasks, pools and waiting questions; read-only queries, few per request."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun as RunRow
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from satseg.errors import NotFoundError
from satseg_ui.airflow_calls import run_page

UNFINISHED = ("queued", "scheduled", "running", "deferred")
ASKING = ("awaiting_input", "deferred", "running")


class DagRun(BaseModel):
    """A run of a DAG."""

    dag_id: str = Field(examples=["buildings.model_training"])
    dag_run_id: str = Field(examples=["manual__1"])
    state: str = Field(examples=["success"])
    run_type: str = Field(examples=["manual"])
    triggered_by: str | None = Field(description="User who started it.", examples=["admin"])
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    conf: dict[str, Any] = Field(description="What the form was filled in with.")
    note: str | None
    url: str = Field(description="Its page in Airflow.")


class Task(BaseModel):
    """A task of a run; mapped ones are one each."""

    task_id: str = Field(examples=["train"])
    map_index: int = Field(examples=[-1])
    label: str | None
    state: str | None = Field(examples=["running"])
    started_at: datetime | None
    ended_at: datetime | None
    try_number: int
    url: str


class Waiting(BaseModel):
    """A question of a promotion that a person has not answered yet."""

    dag_id: str
    dag_run_id: str
    subject: str
    body: str = Field(description="Markdown: gates and links.")
    asked_at: datetime


def runs(dag_ids: Iterable[str], limit: int, offset: int = 0) -> tuple[list[DagRun], int]:
    """Return a part of the runs of some DAGs, newest first, and how many there are."""
    wanted = RunRow.dag_id.in_(list(dag_ids))
    newest = select(RunRow).where(wanted).order_by(RunRow.id.desc()).limit(limit).offset(offset)
    with create_session() as session:
        total = session.scalar(select(func.count()).select_from(RunRow).where(wanted)) or 0
        return [_run(row) for row in session.scalars(newest.options(selectinload(RunRow.dag_run_note)))], total


def run(dag_id: str, dag_run_id: str) -> DagRun:
    """Return one run.

    Raises:
        NotFoundError: there is no such run.
    """
    asked = select(RunRow).where(RunRow.dag_id == dag_id, RunRow.run_id == dag_run_id)
    with create_session() as session:
        row = session.scalar(asked.options(selectinload(RunRow.dag_run_note)))
        if row is None:
            raise NotFoundError(f"DAG {dag_id} has no run '{dag_run_id}'.")
        return _run(row)


def last_runs(dag_ids: Sequence[str]) -> dict[str, DagRun]:
    """Return the newest run of each DAG that has one."""
    newest = select(func.max(RunRow.id)).where(RunRow.dag_id.in_(dag_ids)).group_by(RunRow.dag_id)
    with create_session() as session:
        rows = session.scalars(select(RunRow).where(RunRow.id.in_(newest)).options(selectinload(RunRow.dag_run_note)))
        return {row.dag_id: _run(row) for row in rows}


def last_successes(dag_ids: Sequence[str]) -> dict[str, datetime]:
    """Return when the last good run of each DAG ended."""
    ends = (
        select(RunRow.dag_id, func.max(RunRow.end_date))
        .where(RunRow.dag_id.in_(dag_ids), RunRow._state == "success")
        .group_by(RunRow.dag_id)
    )
    with create_session() as session:
        return {dag: end for dag, end in session.execute(ends).all() if end is not None}


def paused(dag_ids: Sequence[str]) -> dict[str, bool]:
    """Return whether each DAG that Airflow knows is paused."""
    asked = select(DagModel.dag_id, DagModel.is_paused).where(DagModel.dag_id.in_(dag_ids), ~DagModel.is_stale)
    with create_session() as session:
        return {dag: bool(is_paused) for dag, is_paused in session.execute(asked).all()}


def tasks(dag_id: str, dag_run_id: str) -> list[Task]:
    """Return the tasks of a run in the order they started."""
    asked = (
        select(TaskInstance)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == dag_run_id)
        .order_by(TaskInstance.start_date.is_(None), TaskInstance.start_date, TaskInstance.task_id)
    )
    with create_session() as session:
        return [_task(row) for row in session.scalars(asked)]


def task_counts(dag_ids: Sequence[str]) -> dict[str, int]:
    """Return how many tasks of some DAGs are in each unfinished state."""
    counted = (
        select(TaskInstance.state, func.count())
        .where(TaskInstance.state.in_(UNFINISHED), TaskInstance.dag_id.in_(dag_ids))
        .group_by(TaskInstance.state)
    )
    with create_session() as session:
        found = {str(state): count for state, count in session.execute(counted).all()}
    return {state: found.get(state, 0) for state in UNFINISHED}


def waiting_answers(dag_ids: Sequence[str]) -> list[Waiting]:
    """Return the questions of running promotions that nobody has answered, newest first."""
    asked = (
        select(HITLDetail, TaskInstance.dag_id, TaskInstance.run_id)
        .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .where(
            TaskInstance.dag_id.in_(dag_ids),
            HITLDetail.responded_at.is_(None),
            TaskInstance.state.in_(ASKING),
        )
        .order_by(HITLDetail.created_at.desc())
    )
    with create_session() as session:
        return [
            Waiting(
                dag_id=dag,
                dag_run_id=run_id,
                subject=detail.subject,
                body=detail.body or "",
                asked_at=detail.created_at,
            )
            for detail, dag, run_id in session.execute(asked).all()
        ]


def result(dag_id: str, dag_run_id: str, task_id: str) -> Any:
    """Return what a task of a run handed on; None for nothing."""
    from airflow.models.xcom import XComModel

    asked = XComModel.get_many(key="return_value", run_id=dag_run_id, dag_ids=dag_id, task_ids=task_id, limit=1)
    with create_session() as session:
        row = session.scalars(asked).first()
        return None if row is None else XComModel.deserialize_value(row)


def _run(row: RunRow) -> DagRun:
    return DagRun(
        dag_id=row.dag_id,
        dag_run_id=row.run_id,
        state=str(row.state),
        run_type=str(row.run_type),
        triggered_by=row.triggering_user_name,
        queued_at=row.queued_at,
        started_at=row.start_date,
        ended_at=row.end_date,
        conf=row.conf or {},
        note=row.note,
        url=run_page(row.dag_id, row.run_id),
    )


def _task(row: TaskInstance) -> Task:
    mapped = f"/mapped/{row.map_index}" if row.map_index >= 0 else ""
    return Task(
        task_id=row.task_id,
        map_index=row.map_index,
        label=row.rendered_map_index,
        state=None if row.state is None else str(row.state),
        started_at=row.start_date,
        ended_at=row.end_date,
        try_number=row.try_number,
        url=f"{run_page(row.dag_id, row.run_id)}/tasks/{quote(row.task_id, safe='')}{mapped}",
    )
