"""Which night a run of drift_detection is about, and which scenes belong to it."""

from datetime import timedelta
from typing import Any

from jinja2 import pass_context

BY_SCHEDULE = ("scheduled", "backfill")


def _scheduled(context: Any) -> bool:
    return context["dag_run"].run_type in BY_SCHEDULE


@pass_context
def night(context: Any) -> str:
    """Template function: the form's night, the date on which the schedule's interval began, or today (UTC)."""
    if chosen := context["params"].get("night"):
        return str(chosen)
    moment = context["data_interval_start"] if _scheduled(context) else context["dag_run"].run_after
    return str(moment.strftime("%Y-%m-%d"))


@pass_context
def ingested_since(context: Any) -> str:
    """Template function: the first moment of the night; '' when the form selects by dataset version."""
    params = context["params"]
    if chosen := params.get("since"):
        return str(chosen)
    if _scheduled(context):
        return str(context["data_interval_start"].isoformat())
    if params.get("dataset_version") or params.get("until"):
        return ""
    return str((context["dag_run"].run_after - timedelta(days=1)).isoformat())


@pass_context
def ingested_until(context: Any) -> str:
    """Template function: the end of the night (exclusive); '' for none."""
    if chosen := context["params"].get("until"):
        return str(chosen)
    return str(context["data_interval_end"].isoformat()) if _scheduled(context) else ""


NIGHT = "{{ night() }}"
SINCE = "{{ ingested_since() }}"
UNTIL = "{{ ingested_until() }}"
NIGHT_TEMPLATES = {"night": night, "ingested_since": ingested_since, "ingested_until": ingested_until}
