"""The sensor between a drift report and a retraining."""

import json
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from satseg_airflow.drift_status import exit_message, read_answer, report_exists, status_command
from satseg_airflow.runners import stage_environment
from satseg_airflow.triggers.drift import DriftTrigger

ANSWER_WITHIN_S = 120


class DriftSensor(BaseSensorOperator):
    """Succeeds when the reports up to `night` confirm drift and no open episode or cool-down forbids a retraining.

    Asks once; when the night's report is not there yet it gives its worker slot back and waits in the triggerer,
    at most `timeout`. It reads reports of this and past nights only. A report that confirms nothing skips what
    comes after; it never fails.

    Args:
        project: Name of the project.
        night: Templated date.
    """

    template_fields: Sequence[str] = ("night",)
    ui_color = "#ffe0b2"

    def __init__(self, *, project: str, night: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", str(DriftSensor.__doc__))
        super().__init__(**kwargs)
        self.project = project
        self.night = night

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask once, then defer."""
        if not report_exists(self.project, self.night):
            self.log.info("No report of night %s yet; waiting in the triggerer.", self.night)
            self.defer(
                trigger=DriftTrigger(self.project, self.night, self.poke_interval),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        done = subprocess.run(
            status_command(self.project, self.night),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
            env=stage_environment(),
            check=False,
        )
        return self.execute_complete(context, read_answer(done.returncode, done.stdout, done.stderr))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Turn the answer into success, skip or failure."""
        event = event or {}
        if "error" in event:
            kind = AirflowException if event.get("retry") else AirflowFailException
            raise kind(exit_message(event))
        status: dict[str, Any] = event["status"]
        self.log.info("Night %s: %s", self.night, json.dumps(status))
        if not status["trigger"]:
            raise AirflowSkipException(status["reason"])
        return status
