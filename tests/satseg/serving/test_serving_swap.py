"""A new champion takes over without a failed request; what cannot be loaded changes nothing."""

import gc
import socket
import threading
import weakref

import httpx
import pytest
from serving_pictures import png
from serving_world import wait_for

from satseg.errors import BadDataError


def version_of(live):
    return httpx.get(f"{live.url}/v1/model").json()["version"]


def test_three_swaps_under_load_fail_no_request_and_drop_the_old_models(start, image):
    live = start(max_waiting=64)
    body, answers, stopped = png(image), [], threading.Event()

    def client():
        with httpx.Client() as connection:
            while not stopped.is_set():
                response = connection.post(f"{live.url}/v1/segment", content=body, timeout=30)
                answers.append((response.status_code, response.headers.get("x-model-version")))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    first = weakref.ref(live.champion.model)
    for version in ("2", "3", "1"):
        live.champion_version = version
        wait_for(lambda wanted=version: answers and answers[-1][1] == f"v{wanted}")
    stopped.set()
    for thread in clients:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"v1", "v2", "v3"}
    assert live.loads == ["1", "2", "3", "1"]
    wait_for(lambda: gc.collect() is not None and first() is None)
    wait_for(lambda: sum(thread.name == "batcher" for thread in threading.enumerate()) <= 2)  # ours and the shared one
    assert live.metric('satseg_model_changes_total{outcome="swapped"}') == 4


def test_each_version_answers_with_its_own_weights(start, image):
    live = start()
    assert live.post(png(image), "application/geo+json").json()["features"]
    live.champion_version = "4"  # a quarter of the probability: nothing is a building
    wait_for(lambda: version_of(live) == "v4")
    assert live.post(png(image), "application/geo+json").json()["features"] == []


def test_champion_that_cannot_be_loaded_leaves_the_old_one_and_is_named(start, image):
    live = start()

    def refuse(version):
        if version == "9":
            raise BadDataError("model.onnx is broken")

    live.before_load = refuse
    live.champion_version = "9"
    wait_for(lambda: live.metric('satseg_model_changes_total{outcome="failed"}') >= 1)
    assert live.post(png(image)).headers["x-model-version"] == "v1"
    ready = httpx.get(f"{live.url}/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (200, "model.onnx is broken")
    live.champion_version = "2"
    wait_for(lambda: version_of(live) == "v2")
    assert httpx.get(f"{live.url}/readyz").json()["detail"] is None


def test_removed_alias_leaves_the_model_that_answers(start, image):
    live = start()
    live.champion_version = None
    wait_for(lambda: "no champion" in (httpx.get(f"{live.url}/readyz").json()["detail"] or ""))
    assert live.post(png(image)).status_code == 200


def test_service_without_a_champion_says_so_and_answers_once_there_is_one(start, image):
    live = start(champion_version=None)
    wait_for(lambda: httpx.get(f"{live.url}/healthz").status_code == 200)
    for response in (httpx.get(f"{live.url}/readyz"), live.post(png(image)), httpx.get(f"{live.url}/v1/model")):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
    wait_for(lambda: "promote a version" in httpx.get(f"{live.url}/readyz").json()["detail"])
    live.champion_version = "1"
    wait_for(lambda: httpx.get(f"{live.url}/readyz").status_code == 200)
    assert live.post(png(image)).status_code == 200


def open_request(live, body, **extra):
    """Send the headers of a request and half of its body; return the connection."""
    host, port = live.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = f"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[: len(body) // 2])
    return connection


def test_request_too_many_gets_429_with_the_time_to_wait(start, image):
    live = start(max_waiting=1)
    body = png(image)
    with open_request(live, body) as connection:
        wait_for(lambda: live.metric("satseg_requests_held") == 1)
        refused = live.post(body)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "busy" in refused.json()["detail"]
        connection.sendall(body[len(body) // 2 :])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert live.post(body).status_code == 200


def test_stopping_answers_the_requests_under_way(start, image):
    live = start()
    body = png(image)
    with open_request(live, body) as connection:
        wait_for(lambda: live.metric("satseg_requests_held") == 1)
        live.server.should_exit = True
        with pytest.raises(httpx.TransportError):
            wait_for(lambda: httpx.get(f"{live.url}/healthz", timeout=1) is None)  # nobody new is let in
        connection.sendall(body[len(body) // 2 :])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    live.thread.join(10)
    assert not live.thread.is_alive()
    assert live.champion.model is None
