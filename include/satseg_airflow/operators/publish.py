"""The operator that announces a new version of an asset, and is skipped when there is none."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from satseg_airflow.operators.stage import TRY_NUMBER_KEY


class PublishOperator(BaseOperator):
    """Emit an asset event whose extra carries the version; skipped when `changed` renders to something untrue.

    A stage that was killed after its work but before its result was read finds everything done when it is tried
    again, and says that nothing changed. So after a retry, a version that no event carries yet is published too.

    Args:
        asset: What is published.
        version: Templated; the version, the id or whatever names the asset's new content.
        changed: Templated; "False", "None" and "" mean that nothing changed.
        made_by: Id of the stage task that made the version; its tries tell whether it was retried.
        note: Templated; further entries of the event's extra.
    """

    template_fields: Sequence[str] = ("version", "changed", "note")
    ui_color = "#b3e5fc"

    def __init__(
        self,
        *,
        asset: Asset,
        version: str,
        changed: str = "True",
        made_by: str | None = None,
        note: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("doc_md", f"Publishes `{asset.name}` for the DAGs behind it; skipped when nothing changed.")
        super().__init__(outlets=[asset], inlets=[asset], **kwargs)  # inlets: to read the events there were
        self.asset = asset
        self.version = version
        self.changed = changed
        self.made_by = made_by
        self.note = note or {}

    def execute(self, context: Context) -> dict[str, str]:
        """Emit the event and return its extra."""
        if str(self.changed) in {"", "None", "False"} and not self._lost(context):
            raise AirflowSkipException(f"{self.asset.name} did not change: no event, nothing downstream runs.")
        extra = {"version": str(self.version), **self.note}
        context["outlet_events"][self.asset].extra = dict(extra)
        self.log.info("Published %s: %s", self.asset.name, extra)
        return extra

    def _lost(self, context: Context) -> bool:
        """Whether the version was made by a try that could not say so, and nobody has heard of it."""
        if self.made_by is None or (context["ti"].xcom_pull(task_ids=self.made_by, key=TRY_NUMBER_KEY) or 1) < 2:
            return False
        events = context["inlet_events"][self.asset]
        return all(event.extra.get("version") != str(self.version) for event in events)
