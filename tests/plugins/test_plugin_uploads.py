"""Uploads: they appear whole in the drop zone or leave nothing there, whatever the client does."""

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import anyio
import pytest
from plugin_server import API, Server

MIB = 2**20
BAD_NAMES = (
    "..%2F..%2Fevil.tif",
    "%2E%2E%2Fevil.tif",
    "..%5C..%5Cevil.tif",
    "%2Fetc%2Fevil.tif",
    "/etc/evil.tif",
    "folder/evil.tif",
    "C%3A%5Cevil.tif",
    "a..tif",
    ".hidden.tif",
    "evil.tif%00.png",
    "evil%0A.tif",
    "evil%E2%80%AE.fit.tif",  # right-to-left override: shows as another name
    "%D0%B5vil.tif",  # Cyrillic letter that looks like a Latin one
    "evil%EF%BC%8E%EF%BC%8E%EF%BC%8Fx.tif",  # full-width dots and slash, which NFKC makes ../
    "cafe%CC%81.tif",
    "evil%C0%AE%C0%AE.tif",  # overlong UTF-8
    "CON.tif",
    "aux.json",
    "evil.tif.",
    "evil.tif%20",
    "%20evil.tif",
    "-rf.tif",
    f"{'a' * 200}.tif",
)


def place(server: Server) -> Path:
    return server.workspace / "incoming" / "houses"


def files(server: Server) -> set[str]:
    """Return every file of the whole workspace's drop zones, hidden ones too."""
    zone = server.workspace / "incoming"
    return {str(path.relative_to(zone)) for path in zone.rglob("*") if path.is_file()}


def put(server: Server, name: str, content: bytes, **more: str):
    headers = server.bearer("user") | more
    return server.client.put(f"{API}/projects/houses/incoming/{name}", content=content, headers=headers)


@pytest.fixture(autouse=True)
def empty_zone(server):
    for path in place(server).glob("*"):
        path.unlink()
    yield
    for path in place(server).glob("*"):
        path.unlink()


def test_a_file_appears_whole_is_listed_and_noted_and_can_be_removed(server) -> None:
    content = bytes(range(256)) * 2000
    answer = put(server, "east.tif", content)
    assert answer.status_code == 201
    assert answer.json() == {"name": "east.tif", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (place(server) / "east.tif").read_bytes() == content
    listed = server.client.get(f"{API}/projects/houses/incoming", headers=server.bearer("viewer")).json()
    assert [row["name"] for row in listed["items"]] == ["east.tif"]
    assert listed["limits"]["scene_bytes"] == MIB
    assert noted("satseg_upload")[-1] == ("user", "east.tif")
    url = f"{API}/projects/houses/incoming/east.tif"
    assert server.client.delete(url, headers=server.bearer("user")).status_code == 204
    assert server.client.delete(url, headers=server.bearer("user")).status_code == 404
    assert files(server) == set()
    assert noted("satseg_remove_upload")[-1] == ("user", "east.tif")


def noted(event: str) -> list[tuple[str, str]]:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(select(Log.owner, Log.extra).where(Log.event == event).order_by(Log.id)).all()
        return [(owner, json.loads(extra)["name"]) for owner, extra in rows]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_lead_elsewhere_are_refused(server, name) -> None:
    before = set(server.workspace.parent.rglob("*evil*"))
    answer = put(server, name, b"x")
    assert answer.status_code in {404, 405, 415, 422}, answer.text
    assert files(server) == set()
    assert set(server.workspace.parent.rglob("*evil*")) == before
    removed = server.client.delete(f"{API}/projects/houses/incoming/{name}", headers=server.bearer("user"))
    assert removed.status_code in {404, 405, 415, 422}


@pytest.mark.parametrize("name", ["script.sh", "page.html", "scene.tif.exe", "noending", "reasons.py"])
def test_other_kinds_of_files_are_refused(server, name) -> None:
    assert put(server, name, b"x").status_code == 415
    assert files(server) == set()


def test_declared_size_is_refused_before_a_byte_is_read(server) -> None:
    read = []

    def body():
        read.append(1)
        yield b"x"

    headers = server.bearer("user") | {"Content-Length": str(10 * 2**30)}
    answer = server.client.put(f"{API}/projects/houses/incoming/large.tif", content=body(), headers=headers)
    assert answer.status_code == 413
    assert "larger than 1 MiB" in answer.json()["detail"]
    assert files(server) == set()


@pytest.mark.parametrize("declared", ["-1", "1e3", "٣", "x"])
def test_a_length_that_is_no_number_is_refused(server, declared) -> None:
    raw = {"Content-Length": declared.encode()}
    answer = server.client.put(
        f"{API}/projects/houses/incoming/a.tif", content=b"x", headers=server.bearer("user") | raw
    )
    assert answer.status_code == 400
    assert files(server) == set()


def test_more_than_was_allowed_is_refused_whatever_was_declared(server) -> None:
    def endless():
        for _ in range(64):
            yield b"x" * 65536

    answer = server.client.put(
        f"{API}/projects/houses/incoming/large.tif", content=endless(), headers=server.bearer("user")
    )
    assert answer.status_code == 413
    assert files(server) == set()


def test_label_files_have_a_limit_of_their_own(server) -> None:
    assert put(server, "labels.geojson", b"x" * (MIB // 2)).status_code == 413
    assert put(server, "scene.tif", b"x" * (MIB // 2)).status_code == 201


def test_an_empty_file_is_refused_and_replaces_nothing(server) -> None:
    assert put(server, "a.tif", b"first").status_code == 201
    for url in ("b.tif", "a.tif?replace=true"):
        answer = put(server, url, b"")
        assert (answer.status_code, answer.json()["detail"]) == (422, f"'{url[:5]}' is empty.")
    assert (place(server) / "a.tif").read_bytes() == b"first"
    assert [path.rpartition("/")[2] for path in files(server)] == ["a.tif"]


def test_a_file_that_waits_is_replaced_only_when_asked(server) -> None:
    assert put(server, "a.tif", b"first").status_code == 201
    assert put(server, "a.tif", b"second").status_code == 409
    assert (place(server) / "a.tif").read_bytes() == b"first"
    assert put(server, "a.tif?replace=true", b"second").status_code == 201
    assert (place(server) / "a.tif").read_bytes() == b"second"


def test_of_two_uploads_of_one_name_at_once_one_is_kept_and_the_other_told(server) -> None:
    async def both() -> list[list[dict]]:
        sent: list[list[dict]] = [[], []]
        arrived = anyio.Event()

        async def one(number: int) -> None:
            messages = [
                {"type": "http.request", "body": bytes([65 + number]) * 1000, "more_body": True},
                {"type": "http.request", "body": b"", "more_body": False},
            ]
            sent[number] = await _send(server, messages, "1000", before_last=arrived)

        async with anyio.create_task_group() as group:
            group.start_soon(one, 0)
            group.start_soon(one, 1)
            while len(list(place(server).glob(".tmp-*"))) < 2:  # both were let in
                await anyio.sleep(0.02)
            arrived.set()
        return sent

    first, second = anyio.run(both)
    assert sorted(answer[0]["status"] for answer in (first, second)) == [201, 409]
    kept = b"A" if first[0]["status"] == 201 else b"B"
    assert (place(server) / "cut.tif").read_bytes() == kept * 1000
    assert files(server) == {"houses/cut.tif"}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_is_told_and_nothing_left(server, monkeypatch, error) -> None:
    from satseg_ui import uploading

    def full(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(uploading, "_write", full)
    answer = put(server, "a.tif", b"x")
    assert answer.status_code == 507
    assert "no room for 'a.tif'" in answer.json()["detail"]
    assert files(server) == set()


def test_a_cut_connection_leaves_nothing(server) -> None:
    messages = [
        {"type": "http.request", "body": b"x" * 70_000, "more_body": True},
        {"type": "http.disconnect"},
    ]
    anyio.run(_send, server, messages, "100000")
    assert files(server) == set()


def test_a_body_shorter_than_declared_leaves_nothing(server) -> None:
    messages = [{"type": "http.request", "body": b"x" * 10, "more_body": False}]
    answer = anyio.run(_send, server, messages, "1000")
    assert answer[0]["status"] == 400
    assert "10 of 1000 bytes" in answer[1]["body"].decode()
    assert files(server) == set()


def test_silence_ends_an_upload_and_leaves_nothing(server, monkeypatch) -> None:
    from satseg_ui import uploading

    monkeypatch.setattr(uploading, "SILENCE_S", 0.2)
    messages = [{"type": "http.request", "body": b"x" * 10, "more_body": True}]
    answer = anyio.run(_send, server, messages, "1000")
    assert answer[0]["status"] == 408
    assert files(server) == set()


async def _send(
    server: Server, messages: list[dict], declared: str, before_last: anyio.Event | None = None
) -> list[dict]:
    """Talk to the app as a server does, with these messages of a client and then silence."""
    sent: list[dict] = []
    waiting = iter(messages)

    async def receive() -> dict:
        message = next(waiting, None)
        if before_last is not None and message is messages[-1]:
            await before_last.wait()
        if message is None:
            await anyio.sleep(30)
        return message or {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = server.bearer("user") | {"Content-Length": declared, "Host": "airflow.test"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": f"{API}/projects/houses/incoming/cut.tif",
        "raw_path": f"{API}/projects/houses/incoming/cut.tif".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("airflow.test", 80),
    }
    await server.client.app(scope, receive, send)
    return sent


def test_what_a_killed_server_left_is_removed_later(server) -> None:
    put(server, "a.tif", b"x")
    old, young = place(server) / ".tmp-00000000-old.tif", place(server) / ".tmp-00000000-young.tif"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    put(server, "b.tif", b"x")
    assert (old.exists(), young.exists()) == (False, True)


def test_only_so_many_uploads_at_once(server, monkeypatch) -> None:
    from satseg_ui import uploading

    monkeypatch.setattr(uploading, "SLOTS", 0)
    answer = put(server, "a.tif", b"x")
    assert answer.status_code == 429
    assert answer.headers["retry-after"]


def test_a_folder_of_the_name_is_not_replaced(server) -> None:
    (place(server) / "dir.tif").mkdir(parents=True)
    try:
        assert put(server, "dir.tif?replace=true", b"x").status_code == 409
        assert server.client.delete(
            f"{API}/projects/houses/incoming/dir.tif", headers=server.bearer("user")
        ).status_code in {404, 409}
    finally:
        (place(server) / "dir.tif").rmdir()


def test_large_json_bodies_are_refused_unread(server) -> None:
    body = b'{"reason": "' + b"x" * (2 * MIB) + b'"}'
    headers = server.bearer("admin") | {"Content-Type": "application/json"}
    for content in (body, (body[start : start + 65536] for start in range(0, len(body), 65536))):
        answer = server.client.post(f"{API}/projects/houses/rollback", content=content, headers=headers)
        assert answer.status_code in {400, 413}
