"""Starting work: Airflow's own REST API, asked within this process in the name of who asked us.

So its rights, its check of the form and its audit log hold for every run that is started here.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Request, Response
from pydantic import BaseModel, Field

from satseg_ui.mounted import AIRFLOW_APP
from satseg_ui.problems import Refusal
from satseg_ui.work import in_thread, json_answer

PASSED_ON = ("authorization", "cookie", "referer", "host", "x-request-id")
TIMEOUT_S = 60.0


class Started(BaseModel):
    """A DAG run that was started."""

    dag_id: str = Field(examples=["buildings.model_training"])
    dag_run_id: str = Field(examples=["manual__2026-11-23T12:00:00+00:00_ab12cd34"])
    state: str = Field(examples=["queued"])
    paused: bool = Field(description="Whether the DAG is paused: the run waits until somebody unpauses it.")
    url: str = Field(description="Its page in Airflow.", examples=["/dags/buildings.model_training/runs/manual__1"])


async def call_airflow(request: Request, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Call `/api/v2…` as the user of a request and return its JSON.

    Raises:
        Refusal: Airflow says no; with its words.
    """
    passed = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    transport = httpx.ASGITransport(request.scope[AIRFLOW_APP], raise_app_exceptions=False)
    base = f"{request.url.scheme}://{request.url.netloc}"
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=TIMEOUT_S, trust_env=False) as client:
        answer = await client.request(method, f"/api/v2{path}", json=body, headers=passed)
    if answer.is_success:
        return dict(answer.json())
    raise _refusal(answer)


def _refusal(answer: httpx.Response) -> Refusal:
    try:
        said = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        said = answer.text
    words = said if isinstance(said, str) else str(said)
    status = HTTPStatus(answer.status_code)
    if status == HTTPStatus.BAD_REQUEST:  # a value of the form; 422 is what the other routes answer to one
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    if answer.is_server_error:
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"Airflow could not do it: {words[:500]}")
    return Refusal(status, f"Airflow refuses: {words[:2000]}")


async def start_run(request: Request, dag_id: str, conf: dict[str, Any]) -> Response:
    """Start a DAG run with these values of its form, those of None left out; answer 202 with the run.

    Raises:
        Refusal: Airflow says no: no right, a wrong value, or it does not know the DAG.
    """
    given = {name: value for name, value in conf.items() if value is not None}
    body = {"logical_date": None, "conf": given}
    run = await call_airflow(request, "POST", f"/dags/{quote(dag_id, safe='')}/dagRuns", body)
    paused = await in_thread(_is_paused, dag_id)
    run_id = run["dag_run_id"]
    started = Started(dag_id=dag_id, dag_run_id=run_id, state=run["state"], paused=paused, url=run_page(dag_id, run_id))
    project = dag_id.partition(".")[0]
    place = f"/satseg/api/v1/projects/{project}/dag-runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"
    return json_answer(started, HTTPStatus.ACCEPTED, {"Location": airflow_root() + place})


def _is_paused(dag_id: str) -> bool:
    with create_session() as session:
        dag = session.get(DagModel, dag_id)
        return bool(dag is not None and dag.is_paused)


def run_page(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page in Airflow."""
    return f"{airflow_root()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def airflow_root() -> str:
    """Return the path that this Airflow is served under, '' for none."""
    from airflow.api_fastapi.app import API_ROOT_PATH

    return str(API_ROOT_PATH).rstrip("/")
