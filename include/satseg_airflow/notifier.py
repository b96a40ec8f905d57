"""What people are told: a task that has failed for good, and drift that is confirmed."""

import json
import smtplib
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from airflow.sdk import BaseNotifier, Context

from satseg.config.settings import settings
from satseg.storage.layout import Workspace

WEBHOOK_TIMEOUT_S = 10.0
CHANGES_NAMED = 5


class FailureNotifier(BaseNotifier):
    """Logs a failed task and posts it to `SATSEG_ALERT_WEBHOOK`; a webhook that does not answer harms nobody."""

    def notify(self, context: Context) -> None:
        """Tell people about the failed task of this context."""
        message = failure_message(context)
        self.log.error("%(dag_id)s.%(task_id)s failed in run %(run_id)s: %(error)s", message)
        if (problem := post(message)) is not None:
            self.log.warning(problem)


class DriftNotifier(BaseNotifier):
    """Tells webhook (Slack's too) and e-mail that a night's drift is confirmed; what does not answer harms nobody.

    Args:
        project: Name of the project.
        night: Templated date.
    """

    template_fields: Sequence[str] = ("night",)

    def __init__(self, project: str, night: str) -> None:
        super().__init__()
        self.project = project
        self.night = night

    def notify(self, context: Context) -> None:
        """Tell people about the confirmed drift of the night."""
        message = drift_message(self.project, self.night)
        self.log.warning("%s", message["text"])
        for problem in (post(message), mail(message)):
            if problem is not None:
                self.log.warning(problem)


def failure_message(context: Context) -> dict[str, Any]:
    """Return what a person needs to find the failed task."""
    task = context["ti"]
    return {
        "event": "task_failed",
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "run_id": task.run_id,
        "try_number": task.try_number,
        "error": str(context.get("exception") or "killed or lost"),
        "log_url": getattr(task, "log_url", ""),
    }


def drift_message(project: str, night: str) -> dict[str, Any]:
    """Return what a person needs to judge a night's drift: what changed, how far, and where the report is."""
    path = Workspace(settings().workspace).drift_night(project, night) / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the alarm matters more than its details
        report = {}
    tests = [test for key in ("features", "predictions", "together") for test in report.get(key, [])]
    changes = [test["change"] for test in tests if test["drifted"]]
    kinds, severity = report.get("kinds", []), report.get("severity")
    what = "; ".join(changes[:CHANGES_NAMED]) or "see its report"
    return {
        "event": "drift_confirmed",
        "project": project,
        "night": night,
        "severity": severity,
        "kinds": kinds,
        "changes": changes,
        "scenes": report.get("scenes", []),
        "champion": report.get("champion"),
        "report": report.get("report") or str(path),
        "text": f"Drift of {project} confirmed on night {night} ({severity or 'unknown'}: {', '.join(kinds)}): {what}.",
    }


def post(message: dict[str, Any]) -> str | None:
    """Post a message to the configured webhook; returns what went wrong."""
    if (url := settings().alert_webhook) is None:
        return None
    try:
        httpx.post(url, json=message, timeout=WEBHOOK_TIMEOUT_S).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"The alert webhook did not take the message ({error}): check SATSEG_ALERT_WEBHOOK."
    return None


def mail(message: dict[str, Any]) -> str | None:
    """Mail a message to the configured address; returns what went wrong."""
    if (address := settings().alert_email) is None:
        return None
    letter = EmailMessage()
    letter["To"] = letter["From"] = address
    letter["Subject"] = f"satseg: {message['event'].replace('_', ' ')}, {message['project']}, night {message['night']}"
    letter.set_content(f"{message['text']}\n\nReport: {message['report']}\n")
    server = urlsplit(settings().smtp_url)
    kind = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    try:
        with kind(server.hostname or "localhost", server.port or 0, timeout=WEBHOOK_TIMEOUT_S) as connection:
            if server.username:
                if kind is smtplib.SMTP:
                    connection.starttls()
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(letter)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return f"The mail server did not take the message ({error}): check SATSEG_SMTP_URL and SATSEG_ALERT_EMAIL."
    return None
