"""What happens when a task has failed for good: a line in the log and, where configured, a webhook call."""

from typing import Any

import httpx
from airflow.sdk import BaseNotifier, Context

from satseg.config.settings import settings

WEBHOOK_TIMEOUT_S = 10.0


class FailureNotifier(BaseNotifier):
    """Logs a failed task and posts it to `SATSEG_ALERT_WEBHOOK`; a webhook that does not answer harms nobody."""

    def notify(self, context: Context) -> None:
        """Tell people about the failed task of this context."""
        message = failure_message(context)
        self.log.error("%(dag_id)s.%(task_id)s failed in run %(run_id)s: %(error)s", message)
        if (url := settings().alert_webhook) is None:
            return
        try:
            httpx.post(url, json=message, timeout=WEBHOOK_TIMEOUT_S).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.log.warning("The alert webhook did not take the message (%s): check SATSEG_ALERT_WEBHOOK.", error)


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
