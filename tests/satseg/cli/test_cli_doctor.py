"""`satseg doctor`: each finding says what, how it is and how to mend it; the exit code, whether something lacks."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from satseg.cli import machine
from satseg.cli.app import main
from satseg.config.settings import settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(ROOT / "include" / "projects"))
    for name in ("SATSEG_MLFLOW_URI", "SATSEG_DVC_REMOTE", "SATSEG_GPU_COUNT", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def examined(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    code = main(["doctor", "--json"])
    return code, {one["what"]: one for one in json.loads(capsys.readouterr().out)}


def test_nothing_is_missing_here_and_nothing_was_made(place: Path, capsys) -> None:
    code, found = examined(capsys)
    assert {name: one for name, one in found.items() if one["state"] == "missing"} == {}
    assert code == 0
    assert set(found) >= {"Python", "memory", "workspace", "GPU", "Docker", "MLflow", "DVC remote", "Airflow"}
    assert all(one["mend"] for one in found.values() if one["state"] != "ok")
    assert list(place.iterdir()) == []


def test_people_get_a_table(capsys) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "how to mend it" in out and "DVC remote" in out


def test_services_that_do_not_answer_are_missing_and_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("SATSEG_MLFLOW_URI", closed)
    monkeypatch.setenv("SATSEG_DVC_REMOTE", "s3://bucket/path")
    monkeypatch.setenv("SATSEG_DVC_ENDPOINT_URL", closed)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    settings.cache_clear()
    code, found = examined(capsys)
    assert code == 1
    for what in ("MLflow", "DVC remote"):
        assert found[what]["state"] == "missing" and closed in found[what]["found"]
    assert "SATSEG_MLFLOW_URI" in found["MLflow"]["mend"]


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (500, "missing")])
def test_a_server_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch, capsys, status: int, state: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SATSEG_MLFLOW_URI", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings.cache_clear()
    code, found = examined(capsys)
    server.shutdown()
    assert (code, found["MLflow"]["state"]) == (int(state == "missing"), state)


def test_a_remote_folder_is_missing_until_it_is_made(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    remote = place / "remote"
    monkeypatch.setenv("SATSEG_DVC_REMOTE", str(remote))
    settings.cache_clear()
    code, found = examined(capsys)
    assert (code, found["DVC remote"]["state"]) == (1, "missing")
    assert f"mkdir -p {remote}" in found["DVC remote"]["mend"]
    remote.mkdir()
    assert examined(capsys)[0] == 0


def test_a_broken_project_file_is_named_with_its_error(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (place / "projects").mkdir()
    (place / "projects" / "roads.yaml").write_text("name: roads\nclasses: [road]\ntrainig: {}\n")
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(place / "projects"))
    settings.cache_clear()
    code, found = examined(capsys)
    assert code == 1
    assert "trainig" in found["project files"]["found"] and "roads.yaml" in found["project files"]["mend"]


def test_a_workspace_below_a_file_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("SATSEG_WORKSPACE", str(place / "file" / "workspace"))
    settings.cache_clear()
    code, found = examined(capsys)
    assert (code, found["workspace"]["state"]) == (1, "missing")
    assert "SATSEG_WORKSPACE" in found["workspace"]["mend"]


def test_secrets_that_others_can_read_are_noted(place: Path, capsys) -> None:
    (place / ".env").write_text("REDIS_PASSWORD=x\n")
    (place / ".env").chmod(0o644)
    code, found = examined(capsys)
    assert (code, found[".env"]["state"]) == (0, "note")
    assert found[".env"]["mend"].startswith("chmod 600 ")


def test_another_python_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    finding = machine.python()
    assert (finding.state, finding.found) == ("missing", "3.12.1")


def test_the_limit_of_a_container_counts_as_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMIT", limit)
    limit.write_text(f"{2 * 2**30}\n")
    assert (machine.memory().state, machine.memory().found) == ("missing", "2.0 GiB")
    limit.write_text("max\n")
    assert machine.memory().found != "2.0 GiB"
