"""A failed task is logged, and posted where a webhook is configured; so is confirmed drift, and mailed."""

import json
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from satseg.config.settings import settings
from satseg_airflow.notifier import DriftNotifier, FailureNotifier


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


@pytest.fixture
def drifted_night(workspace) -> str:
    folder = workspace / "drift" / "buildings" / "2026-03-31"
    folder.mkdir(parents=True)
    tests = [
        {"change": "less contrast in red by 2.0 IQR", "drifted": True},
        {"change": "unchanged", "drifted": False},
    ]
    report = {"features": tests, "kinds": ["radiometric"], "severity": "severe", "report": "/ws/report.html"}
    (folder / "report.json").write_text(json.dumps(report))
    return "2026-03-31"


def test_confirmed_drift_reaches_the_webhook_with_words_that_slack_shows(webhook, drifted_night) -> None:
    DriftNotifier("buildings", drifted_night).notify({})
    assert webhook[0]["event"] == "drift_confirmed"
    assert webhook[0]["changes"] == ["less contrast in red by 2.0 IQR"]
    assert webhook[0]["text"].startswith("Drift of buildings confirmed on night 2026-03-31 (severe: radiometric)")
    assert webhook[0]["report"] == "/ws/report.html"


def test_a_missing_report_does_not_stop_the_alarm(webhook, workspace) -> None:
    DriftNotifier("buildings", "2026-04-01").notify({})
    assert "2026-04-01" in webhook[0]["text"] and "see its report" in webhook[0]["text"]


class Mailbox(socketserver.StreamRequestHandler):
    """As much SMTP as it takes to get a letter."""

    letters: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.letters.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


def test_confirmed_drift_is_mailed(monkeypatch, workspace, drifted_night) -> None:
    letters: list[str] = []
    handler = type("Handler", (Mailbox,), {"letters": letters})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("SATSEG_ALERT_EMAIL", "maps@example.org")
        monkeypatch.setenv("SATSEG_SMTP_URL", f"smtp://127.0.0.1:{server.server_address[1]}")
        settings.cache_clear()
        DriftNotifier("buildings", drifted_night).notify({})
        server.shutdown()
    assert "To: maps@example.org" in letters[0] and "night 2026-03-31" in letters[0]
    words = message_from_string(letters[0], policy=policy.default).get_content()
    assert "less contrast in red" in words and "/ws/report.html" in words


def test_an_unreachable_mail_server_harms_nobody(monkeypatch, workspace, drifted_night) -> None:
    monkeypatch.setenv("SATSEG_ALERT_EMAIL", "maps@example.org")
    monkeypatch.setenv("SATSEG_SMTP_URL", "smtp://127.0.0.1:9")
    settings.cache_clear()
    notifier = DriftNotifier("buildings", drifted_night)
    warnings: list[str] = []
    monkeypatch.setattr(notifier.log, "warning", lambda text, *values: warnings.append(text))
    notifier.notify({})
    assert "SATSEG_SMTP_URL" in warnings[-1]
