"""A failed task is logged, and posted where a webhook is configured."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from satseg.config.settings import settings
from satseg_airflow.notifier import FailureNotifier


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch, workspace) -> Iterator[list[dict]]:
    received: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SATSEG_ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
    settings.cache_clear()
    yield received
    server.shutdown()
    server.server_close()


def test_webhook_gets_dag_task_run_and_error(webhook, task_context) -> None:
    FailureNotifier().notify(task_context | {"exception": ValueError("scene a is empty")})
    assert webhook[0]["event"] == "task_failed"
    assert (webhook[0]["dag_id"], webhook[0]["task_id"]) == ("buildings.x", "train")
    assert webhook[0]["error"] == "scene a is empty"


def test_unreachable_webhook_harms_nobody(monkeypatch, workspace, task_context) -> None:
    monkeypatch.setenv("SATSEG_ALERT_WEBHOOK", "http://127.0.0.1:9/nobody")
    settings.cache_clear()
    notifier = FailureNotifier()
    warnings: list[str] = []
    monkeypatch.setattr(notifier.log, "warning", lambda text, *values: warnings.append(text))
    notifier.notify(task_context)
    assert "SATSEG_ALERT_WEBHOOK" in warnings[0]
