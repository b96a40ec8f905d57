"""The sensor between a drift report and a retraining."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from satseg_airflow.questions import ask, status_of
from satseg_airflow.triggers.drift import DriftTrigger, report_exists, status_question


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
        return self.execute_complete(context, ask(status_question(self.project, self.night)))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Turn the answer into success, skip or failure."""
        status = status_of(event)
        self.log.info("Night %s: %s", self.night, json.dumps(status))
        if not status["trigger"]:
            raise AirflowSkipException(status["reason"])
        return status
