"""The assets that join the DAGs of a project, and how a run learns which version it works on."""

from typing import Any, NamedTuple

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import pass_context


class ProjectAssets(NamedTuple):
    """What the DAGs of one project hand on to each other."""

    dataset: Asset
    patches: Asset
    challenger: Asset
    champion: Asset


def assets_of(project: str) -> ProjectAssets:
    """Return the assets of a project, named like `buildings.dataset`."""
    return ProjectAssets(
        *(
            Asset(name=f"{project}.{kind}", uri=f"satseg://{project}/{kind}", group="satseg")
            for kind in ProjectAssets._fields
        )
    )


def newest_event(context: Any) -> dict[str, Any] | None:
    """Return the extra of the newest asset event that triggered this run; None for other runs.

    Raises:
        AirflowFailException: the event names no version, so nobody can tell what to work on.
    """
    triggering = context.get("triggering_asset_events") or {}
    events = [event for asset in triggering for event in triggering[asset]]
    if not events:
        return None
    newest = max(events, key=lambda event: event.timestamp)
    if not (newest.extra or {}).get("version"):
        raise AirflowFailException(
            f"The event of asset {newest.asset.name} carries no version. Trigger this DAG with its form, "
            'or send the event with an extra such as {"version": "3"}.'
        )
    return dict(newest.extra)


@pass_context
def chosen_version(context: Any, param: str) -> str:
    """Template function: the version in the event that triggered the run, otherwise the form's; '' for neither."""
    event = newest_event(context)
    value = event["version"] if event else context["params"].get(param)
    return "" if value is None else str(value)


def model_label(reference: str) -> str:
    """Template function: the folder name of a model version's predictions, 'v3' for '3'; others as they are."""
    return f"v{reference}" if reference.isdigit() else reference
