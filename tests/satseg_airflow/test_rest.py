"""The REST client logs in, survives broken connections, and does not start a run twice."""

import json
from collections.abc import Callable

import httpx
import pytest

from satseg_airflow import rest
from satseg_airflow.rest import AirflowApi, ApiError

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "FIRST_PAUSE_S", 0.001)


def api(handler: Handler) -> AirflowApi:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            right = json.loads(request.content)["password"] == "right"
            return httpx.Response(201, json={"access_token": "token"}) if right else httpx.Response(401)
        return handler(request)

    return AirflowApi("http://airflow", "admin", "right", transport=httpx.MockTransport(answer))


def test_broken_connections_are_tried_again() -> None:
    calls: list[str] = []

    def flaky(request: httpx.Request) -> httpx.Response:
        calls.append(request.headers["Authorization"])
        if len(calls) < 3:
            raise httpx.ReadError("connection reset")
        return httpx.Response(200, json={"dag_runs": []})

    assert api(flaky).runs() == []
    assert calls == ["Bearer token"] * 3


def test_refusal_is_not_tried_again_and_says_why() -> None:
    calls: list[int] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(400, json={"detail": "'many' is not of type 'integer'"})

    with pytest.raises(ApiError, match=r"status 400.*not of type 'integer'"):
        api(refuse).trigger("buildings.model_training", "demo__first", {"epochs": "many"})
    assert len(calls) == 1


def test_run_that_exists_already_is_left_alone() -> None:
    def conflict(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        assert (body["dag_run_id"], body["logical_date"]) == ("demo__first", None)
        return httpx.Response(409, json={"detail": "exists"})

    api(conflict).trigger("buildings.model_training", "demo__first", {})


def test_wrong_password_is_named() -> None:
    client = api(lambda request: httpx.Response(200, json={}))
    client._login["password"] = "wrong"
    with pytest.raises(ApiError, match="does not accept the password of 'admin'"):
        client.runs()


def test_expired_token_is_renewed() -> None:
    answers = iter([httpx.Response(401), httpx.Response(200, json={"dag_runs": [{"dag_run_id": "a"}]})])
    assert api(lambda request: next(answers)).runs() == [{"dag_run_id": "a"}]


def test_server_that_does_not_answer_has_no_health() -> None:
    def dead(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert api(dead).health() == {}
