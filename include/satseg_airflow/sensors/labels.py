"""The sensor between a request for labels and the retraining that learns from them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from satseg_airflow.questions import ask, status_of
from satseg_airflow.triggers.labels import LabelTrigger, labels_question


class LabelSensor(BaseSensorOperator):
    """Succeeds when annotators have ticked every window of a selection as checked; checked ones go to the drop zone.

    Waits in the triggerer, without a worker slot. When the project's `retraining.wait_days` are over, what is labelled
    by then has to do; with nothing labelled it fails, and clearing it waits once more.

    Args:
        project: Name of the project.
        request: Templated name of the request.
        wait_days: How long it waits.
    """

    template_fields: Sequence[str] = ("request",)
    ui_color = "#ffe0b2"

    def __init__(self, *, project: str, request: str, wait_days: float, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", str(LabelSensor.__doc__))
        super().__init__(**kwargs)
        self.project = project
        self.request = request
        self.wait_days = wait_days

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask once, then defer."""
        status = status_of(ask(labels_question(self.project, self.request)))
        if not status["waiting"]:
            return status
        until = datetime.now(UTC) + timedelta(days=self.wait_days)
        self.log.info("%s Waiting for annotators until %s.", status["message"], until.isoformat(timespec="minutes"))
        trigger = LabelTrigger(self.project, self.request, until.isoformat(), self.poke_interval)
        self.defer(trigger=trigger, method_name="execute_complete")
        raise AssertionError("defer always raises")

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on with what there is, or fail when nobody has labelled anything."""
        status = status_of(event)
        self.log.info("%s", status["message"])
        if len(status["waiting"]) == len(status["windows"]):
            raise AirflowFailException(
                f"Nobody labelled a window of request {self.request} within {self.wait_days:g} days. Label some and "
                "clear this task, or close the episode: satseg drift episode --action close."
            )
        return status
