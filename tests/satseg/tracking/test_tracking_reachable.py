"""Asking in passing whether MLflow answers."""

import http.server
import threading

import pytest

from satseg.config.settings import settings
from satseg.errors import BadDataError, TemporaryError
from satseg.tracking.connection import READY_FILE, client, why_unreachable


@pytest.fixture
def at(monkeypatch):
    """Return a function that points satseg at an MLflow server."""

    def point(uri: str) -> None:
        monkeypatch.setenv("SATSEG_MLFLOW_URI", uri)
        settings.cache_clear()

    yield point
    monkeypatch.undo()
    settings.cache_clear()


def test_a_database_answers_or_is_damaged_and_none_yet_is_no_trouble(workspace):
    assert why_unreachable(workspace) is None
    workspace.mlflow.mkdir(parents=True)
    (workspace.mlflow / "mlflow.db").write_bytes(b"not a database, but long enough to look at" * 100)
    assert "does not answer" in why_unreachable(workspace)


def test_a_database_that_was_there_is_not_made_anew_and_empty(workspace):
    with client(workspace) as mlflow:
        mlflow.search_experiments()
    database = workspace.mlflow / "mlflow.db"
    database.unlink()
    assert "is gone" in why_unreachable(workspace)
    with pytest.raises(BadDataError, match=r"Restore it from a backup"), client(workspace):
        pass
    assert not database.exists()


def test_the_workspaces_own_database_is_not_looked_for_where_another_is_configured(workspace, at, tmp_path):
    workspace.mlflow.mkdir(parents=True)
    (workspace.mlflow / READY_FILE).touch()
    at(f"sqlite:///{tmp_path / 'other.db'}")
    with client(workspace) as mlflow:
        assert [found.name for found in mlflow.search_experiments()] == ["Default"]
    assert why_unreachable(workspace) is None


def test_a_damaged_database_is_one_that_does_not_answer(workspace):
    workspace.mlflow.mkdir(parents=True)
    (workspace.mlflow / "mlflow.db").write_bytes(b"not a database, but long enough to look at" * 100)
    (workspace.mlflow / READY_FILE).touch()
    with pytest.raises(TemporaryError, match="does not answer"), client(workspace) as mlflow:
        mlflow.search_experiments()


def test_a_server_that_is_away_is_said_within_seconds(workspace, at):
    at("http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not answer" in why_unreachable(workspace)


def test_a_server_that_answers_is_no_trouble(workspace, at):
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        at(f"http://127.0.0.1:{server.server_port}/")
        assert why_unreachable(workspace) is None
    finally:
        server.shutdown()
        server.server_close()
