"""The operator that announces a new version of an asset, and is skipped when there is none."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException


class PublishOperator(BaseOperator):
    """Emit an asset event whose extra carries the version; skipped when `changed` renders to something untrue.

    Args:
        asset: What is published.
        version: Templated; the version, the id or whatever names the asset's new content.
        changed: Templated; "False", "None" and "" mean that nothing changed.
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
        note: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("doc_md", f"Publishes `{asset.name}` for the DAGs behind it; skipped when nothing changed.")
        super().__init__(outlets=[asset], **kwargs)
        self.asset = asset
        self.version = version
        self.changed = changed
        self.note = note or {}

    def execute(self, context: Context) -> dict[str, str]:
        """Emit the event and return its extra."""
        if str(self.changed) in {"", "None", "False"}:
            raise AirflowSkipException(f"{self.asset.name} did not change: no event, nothing downstream runs.")
        extra = {"version": str(self.version), **self.note}
        context["outlet_events"][self.asset].extra = dict(extra)
        self.log.info("Published %s: %s", self.asset.name, extra)
        return extra
