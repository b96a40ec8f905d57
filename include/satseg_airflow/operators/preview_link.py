"""The button in Airflow's UI that leads from a task to the preview it made."""

from typing import Any

from airflow.sdk import BaseOperatorLink


class PreviewLink(BaseOperatorLink):  # type: ignore[misc, unused-ignore]
    """Link of a task whose stage result has `preview_url`; without an MLflow server, the file of the first picture."""

    @property
    def name(self) -> str:
        """Text of the button."""
        return "Preview"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; Airflow asks for it in the worker when the task has ended."""
        from airflow.sdk.bases.xcom import BaseXCom

        result = BaseXCom.get_value(ti_key=ti_key, key="return_value") or {}
        pictures = result.get("preview") or []
        return str(result.get("preview_url") or (f"file://{pictures[0]}" if pictures else ""))
