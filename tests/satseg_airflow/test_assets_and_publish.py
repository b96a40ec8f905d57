"""Versions travel in asset events; nothing is published when nothing changed."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from satseg_airflow.assets import assets_of, chosen_version
from satseg_airflow.operators.publish import PublishOperator

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def context(*extras: dict[str, Any] | None, **params: Any) -> dict[str, Any]:
    asset = assets_of("buildings").dataset
    events = [
        SimpleNamespace(asset=asset, extra=extra, timestamp=NOON + timedelta(minutes=minute))
        for minute, extra in enumerate(extras)
    ]
    return {"triggering_asset_events": {asset: events} if events else {}, "params": params}


def publish(changed: str, **more: Any) -> tuple[PublishOperator, SimpleNamespace]:
    asset = assets_of("buildings").dataset
    operator = PublishOperator(task_id="publish", asset=asset, version="v3", changed=changed, **more)
    return operator, SimpleNamespace(extra=None)


def test_assets_of_two_projects_differ() -> None:
    assert assets_of("roads").dataset.name == "roads.dataset"
    assert {asset.uri for asset in assets_of("roads")}.isdisjoint({asset.uri for asset in assets_of("buildings")})


def test_event_version_wins_over_the_form() -> None:
    assert chosen_version(context({"version": "v7"}, dataset_version="v1"), "dataset_version") == "v7"


def test_newest_of_several_events_is_taken() -> None:
    assert chosen_version(context({"version": "v7"}, {"version": "v8"}), "dataset_version") == "v8"


def test_form_is_taken_without_event_and_empty_means_nothing_chosen() -> None:
    assert chosen_version(context(dataset_version="v1"), "dataset_version") == "v1"
    assert chosen_version(context(dataset_version=None), "dataset_version") == ""


@pytest.mark.parametrize("extra", [None, {}, {"note": "posted by hand"}])
def test_event_without_version_fails_and_says_how_to_mend_it(extra: dict[str, Any] | None) -> None:
    with pytest.raises(AirflowFailException, match=r"carries no version.*form"):
        chosen_version(context(extra), "dataset_version")


def test_publish_puts_the_version_into_the_event() -> None:
    operator, event = publish("True", note={"night": "2026-03-01"})
    assert operator.execute({"outlet_events": {operator.asset: event}}) == {"version": "v3", "night": "2026-03-01"}
    assert event.extra == {"version": "v3", "night": "2026-03-01"}
    assert operator.outlets == [operator.asset]


@pytest.mark.parametrize("changed", ["False", "None", ""])
def test_publish_is_skipped_when_nothing_changed(changed: str) -> None:
    operator, event = publish(changed)
    with pytest.raises(AirflowSkipException, match="did not change"):
        operator.execute({"outlet_events": {operator.asset: event}})
    assert event.extra is None


def retried(operator: PublishOperator, tries: int, *published: str) -> dict[str, Any]:
    pulled = {("ingest", "try_number"): tries}
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key: pulled.get((task_ids, key)))
    return {"ti": ti, "inlet_events": {operator.asset: [SimpleNamespace(extra={"version": v}) for v in published]}}


def test_a_version_whose_maker_was_killed_before_it_could_say_so_is_published_by_the_retry() -> None:
    operator, event = publish("False", made_by="ingest")
    operator.execute({"outlet_events": {operator.asset: event}, **retried(operator, 2, "v1", "v2")})
    assert event.extra == {"version": "v3"}


@pytest.mark.parametrize(("tries", "published"), [(1, ("v2",)), (2, ("v2", "v3", "v4"))])
def test_an_unchanged_version_is_not_published_without_a_retry_nor_twice(tries: int, published: tuple[str]) -> None:
    operator, event = publish("False", made_by="ingest")
    with pytest.raises(AirflowSkipException, match="did not change"):
        operator.execute({"outlet_events": {operator.asset: event}, **retried(operator, tries, *published)})
    assert event.extra is None
