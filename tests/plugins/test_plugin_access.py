"""Who gets in: every route of the app is walked without login, as viewer, as user; writes by cookie from elsewhere."""

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import APIRoute
from plugin_server import API, Server

PROJECT = f"{API}/projects/houses"
RUN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Walked:
    """A route with values for its parameters, and a body that is right."""

    method: str
    template: str
    url: str
    body: Any = None


READS = (
    Walked("GET", "/session", f"{API}/session"),
    Walked("GET", "/health", f"{API}/health"),
    Walked("GET", "/openapi.json", f"{API}/openapi.json"),
    Walked("GET", "/projects", f"{API}/projects"),
    Walked("GET", "/projects/{project}", PROJECT),
    Walked("GET", "/projects/{project}/loop", f"{PROJECT}/loop"),
    Walked("GET", "/projects/{project}/dag-runs", f"{PROJECT}/dag-runs"),
    Walked("GET", "/projects/{project}/dag-runs/{dag_id}/{dag_run_id}", f"{PROJECT}/dag-runs/model_training/none"),
    Walked("GET", "/projects/{project}/dataset-versions", f"{PROJECT}/dataset-versions"),
    Walked("GET", "/projects/{project}/dataset-versions/{version}", f"{PROJECT}/dataset-versions/newest"),
    Walked("GET", "/projects/{project}/dataset-versions/{old}/diff/{new}", f"{PROJECT}/dataset-versions/v1/diff/v2"),
    Walked("GET", "/projects/{project}/quarantine", f"{PROJECT}/quarantine"),
    Walked("GET", "/projects/{project}/incoming", f"{PROJECT}/incoming"),
    Walked("GET", "/projects/{project}/patch-sets", f"{PROJECT}/patch-sets"),
    Walked("GET", "/projects/{project}/patch-sets/{patch_set}", f"{PROJECT}/patch-sets/0123456789ab"),
    Walked(
        "GET", "/projects/{project}/patch-sets/{patch_set}/split-map", f"{PROJECT}/patch-sets/0123456789ab/split-map"
    ),
    Walked("GET", "/projects/{project}/trainings", f"{PROJECT}/trainings"),
    Walked("GET", "/projects/{project}/trainings/form", f"{PROJECT}/trainings/form"),
    Walked("GET", "/projects/{project}/trainings/{dag_run_id}", f"{PROJECT}/trainings/none"),
    Walked("GET", "/projects/{project}/runs/{run_id}/metrics", f"{PROJECT}/runs/{RUN}/metrics"),
    Walked("GET", "/projects/{project}/models", f"{PROJECT}/models"),
    Walked("GET", "/projects/{project}/models/{ref}", f"{PROJECT}/models/champion"),
    Walked("GET", "/projects/{project}/models/{first}/compare/{second}", f"{PROJECT}/models/1/compare/2"),
    Walked("GET", "/projects/{project}/audit", f"{PROJECT}/audit"),
    Walked("GET", "/projects/{project}/approvals", f"{PROJECT}/approvals"),
    Walked("GET", "/projects/{project}/predictions", f"{PROJECT}/predictions"),
    Walked("GET", "/projects/{project}/predictions/{scene}/{model}", f"{PROJECT}/predictions/scene-0/v1"),
    Walked(
        "GET", "/projects/{project}/predictions/{scene}/{model}/files/{name}",
        f"{PROJECT}/predictions/scene-0/v1/files/polygons.geojson",
    ),
    Walked(
        "GET", "/projects/{project}/predictions/{scene}/{model}/tiles/{layer}/{z}/{x}/{y}.png",
        f"{PROJECT}/predictions/scene-0/v1/tiles/classes/0/0/0.png",
    ),
    Walked(
        "GET", "/projects/{project}/predictions/{scene}/{model}/picture/{layer}.png",
        f"{PROJECT}/predictions/scene-0/v1/picture/scene.png",
    ),
    Walked("GET", "/projects/{project}/drift", f"{PROJECT}/drift"),
    Walked("GET", "/projects/{project}/drift/nights", f"{PROJECT}/drift/nights"),
    Walked("GET", "/projects/{project}/drift/trend", f"{PROJECT}/drift/trend"),
    Walked("GET", "/projects/{project}/drift/nights/{night}", f"{PROJECT}/drift/nights/2026-01-01"),
    Walked("GET", "/projects/{project}/drift/nights/{night}/report", f"{PROJECT}/drift/nights/2026-01-01/report"),
    Walked("GET", "/projects/{project}/lineage", f"{PROJECT}/lineage?target=champion"),
    Walked("GET", "/page", "/satseg/page"),
    Walked("GET", "/page/{path:path}", "/satseg/page/index.html"),
)  # fmt: skip
FOR_USERS = (
    Walked("POST", "/projects/{project}/ingests", f"{PROJECT}/ingests", {}),
    Walked("POST", "/projects/{project}/patch-sets", f"{PROJECT}/patch-sets", {"dataset_version": "v1"}),
    Walked("POST", "/projects/{project}/trainings", f"{PROJECT}/trainings", {"epochs": 2}),
    Walked("POST", "/projects/{project}/retrainings", f"{PROJECT}/retrainings", {}),
    Walked("POST", "/projects/{project}/models", f"{PROJECT}/models", {"run": RUN}),
    Walked("POST", "/projects/{project}/predictions", f"{PROJECT}/predictions", {"scenes": ["scene-0"]}),
    Walked("POST", "/projects/{project}/drift/nights", f"{PROJECT}/drift/nights", {"night": "2026-02-01"}),
)
FILES = (
    Walked("PUT", "/projects/{project}/incoming/{name:path}", f"{PROJECT}/incoming/walked.tif"),
    Walked("DELETE", "/projects/{project}/incoming/{name:path}", f"{PROJECT}/incoming/walked.tif"),
)
FOR_OPERATORS = (
    Walked("POST", "/projects/{project}/models/{ref}/promotion", f"{PROJECT}/models/challenger/promotion", {}),
    Walked("POST", "/projects/{project}/rollback", f"{PROJECT}/rollback", {}),
    Walked("POST", "/projects/{project}/approvals/{dag_run_id}", f"{PROJECT}/approvals/none", {"approve": True}),
)
WRITES = (*FOR_USERS, *FILES, *FOR_OPERATORS)


def named(walked: Walked) -> str:
    return f"{walked.method} {walked.template}"


def ask(server: Server, walked: Walked, headers: dict[str, str]) -> Any:
    content = {"content": b"x" * 10} if walked.method == "PUT" else {} if walked.body is None else {"json": walked.body}
    return server.client.request(walked.method, walked.url, headers=headers, follow_redirects=False, **content)


def routes_of(app: Any) -> set[tuple[str, str]]:
    """Return method and address of every route, however deep it was included."""
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is something that the walk does not know"
        found |= {(method, route.path.removeprefix("/api/v1")) for method in route.methods}
    return found


def test_no_route_is_missing_from_the_walk() -> None:
    from satseg_ui.app import create_rest

    assert routes_of(create_rest()) == {(walked.method, walked.template) for walked in (*READS, *WRITES)}


@pytest.mark.parametrize("walked", [*READS, *WRITES], ids=named)
def test_without_login_every_route_is_closed(server, walked) -> None:
    answer = ask(server, walked, {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("walked", READS, ids=named)
def test_viewer_reads(server, walked) -> None:
    assert ask(server, walked, server.bearer("viewer")).status_code in {200, 307, 404}


@pytest.mark.parametrize("walked", WRITES, ids=named)
def test_viewer_starts_nothing(server, walked) -> None:
    answer = ask(server, walked, server.bearer("viewer"))
    assert answer.status_code == 403
    assert "right to run the DAG houses." in answer.json()["detail"]


@pytest.mark.parametrize("walked", FOR_OPERATORS, ids=named)
def test_user_promotes_nothing(server, walked) -> None:
    answer = ask(server, walked, server.bearer("user"))
    assert answer.status_code == 403
    assert "write assets" in answer.json()["detail"]


@pytest.mark.parametrize("walked", FOR_USERS, ids=named)
def test_user_starts_a_run_in_the_own_name_that_the_audit_log_knows(server, walked) -> None:
    answer = ask(server, walked, server.bearer("user"))
    assert answer.status_code == 202, answer.text
    started = answer.json()
    shown = server.client.get(answer.headers["location"], headers=server.bearer("viewer")).json()
    assert (shown["dag_run_id"], shown["state"], shown["triggered_by"]) == (started["dag_run_id"], "queued", "user")
    assert shown["conf"].items() >= {key: value for key, value in walked.body.items() if value is not None}.items()
    assert ("trigger_dag_run", "user") in events(started["dag_id"])


@pytest.mark.parametrize("user", ["op", "admin"])
def test_operator_promotes_and_rolls_back(server, user) -> None:
    promoted = server.client.post(
        f"{PROJECT}/models/3/promotion", json={"reason": "asked"}, headers=server.bearer(user)
    )
    back = server.client.post(f"{PROJECT}/rollback", json={"reason": "worse"}, headers=server.bearer(user))
    assert (promoted.status_code, back.status_code) == (202, 202)
    runs = server.client.get(f"{PROJECT}/dag-runs?dag=model_promotion&limit=2", headers=server.bearer("viewer")).json()
    assert [run["conf"] for run in runs["items"]] == [
        {"action": "rollback", "reason": "worse"},
        {"action": "promote", "version": "3", "reason": "asked"},
    ]
    assert {run["triggered_by"] for run in runs["items"]} == {user}


@pytest.mark.parametrize("path", ["models/3/promotion", "rollback"])
def test_a_reason_no_database_keeps_is_refused(server, path) -> None:
    answer = server.client.post(f"{PROJECT}/{path}", json={"reason": "worse\0"}, headers=server.bearer("op"))
    assert answer.status_code == 422
    assert "reason" in answer.text


def events(dag_id: str) -> set[tuple[str, str]]:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return set(session.execute(select(Log.event, Log.owner).where(Log.dag_id == dag_id)).tuples())


def test_session_says_what_the_routes_will_allow(server) -> None:
    may = {
        user: server.client.get(f"{API}/session", headers=server.bearer(user)).json()["may"]["houses"]
        for user in ("viewer", "user", "op", "admin")
    }
    assert may["viewer"] == []
    assert set(may["op"]) - set(may["user"]) == {"promote", "rollback", "approve"}
    assert may["op"] == may["admin"]


# --- writes by cookie ---------------------------------------------------------------------------------------------
OWN = {"Origin": "http://airflow.test", "Sec-Fetch-Site": "same-origin"}
FOREIGN = (
    {},
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Origin": "http://airflow.test.evil.test"},
    {"Origin": "http://airflow.test", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Referer": "http://airflow.test/satseg/page/"},
)


@pytest.mark.parametrize("walked", WRITES, ids=named)
@pytest.mark.parametrize("origin", FOREIGN, ids=str)
def test_cookie_write_from_elsewhere_is_refused(server, walked, origin) -> None:
    answer = ask(server, walked, server.cookie("admin") | origin)
    assert answer.status_code == 403
    assert "page of this server" in answer.json()["detail"]


def test_cookie_write_from_the_own_page_and_token_write_from_anywhere_work(server) -> None:
    write = FOR_USERS[2]
    assert ask(server, write, server.cookie("user") | OWN).status_code == 202
    assert ask(server, write, server.cookie("user") | {"Origin": "http://airflow.test"}).status_code == 202
    assert ask(server, write, server.bearer("user") | {"Origin": "http://elsewhere.test"}).status_code == 202


@pytest.mark.parametrize("header", ["Bearer ", "Bearer", "Basic dXNlcjp4", "bearer x"])
def test_half_a_token_beside_a_cookie_does_not_open_the_way(server, header) -> None:
    foreign = {"Authorization": header, "Origin": "http://evil.test"}
    assert ask(server, FOR_USERS[2], server.cookie("admin") | foreign).status_code in {401, 403}


def test_cookie_reads_and_is_told_apart_from_a_wrong_one(server) -> None:
    assert server.client.get(f"{API}/session", headers=server.cookie("viewer")).json()["user"] == "viewer"
    assert server.client.get(f"{API}/session", headers={"Cookie": "_token=wrong"}).status_code in {401, 403}


def test_answers_carry_the_policies_of_a_browser(server) -> None:
    for url in (f"{API}/session", "/satseg/page/index.html"):
        headers = server.client.get(url, headers=server.bearer("viewer")).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    report = server.client.get(f"{PROJECT}/drift/nights/2026-01-01/report", headers=server.bearer("viewer"))
    assert "sandbox" in report.headers["content-security-policy"]
