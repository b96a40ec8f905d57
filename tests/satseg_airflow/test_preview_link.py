"""The button that leads from a task in Airflow's UI to the preview."""

from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.serialization.serialized_objects import DagSerialization

from satseg_airflow.operators.preview_link import PreviewLink

PAGE = "http://mlflow:5000/#/experiments/1/runs/abc/artifacts"


@pytest.mark.parametrize(
    ("result", "address"),
    [
        ({"preview_url": PAGE, "preview": ["/w/a.png"]}, PAGE),
        ({"preview_url": None, "preview": ["/w/a.png", "/w/b.png"]}, "file:///w/a.png"),
        ({"preview_url": None, "preview": []}, ""),
        (None, ""),
    ],
)
def test_the_link_leads_to_the_run_or_to_the_picture(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | None, address: str
) -> None:
    asked: list[tuple[Any, str]] = []

    def get_value(*, ti_key: Any, key: str) -> Any:
        asked.append((ti_key, key))
        return result

    monkeypatch.setattr(BaseXCom, "get_value", get_value)
    assert PreviewLink().get_link(None, ti_key="this task instance") == address
    assert asked == [("this task instance", "return_value")]


def test_the_link_of_a_task_reaches_the_api_server() -> None:
    with DAG("d", schedule=None) as dag:
        task = BaseOperator(task_id="preview")
        task.operator_extra_links = (PreviewLink(),)
    link = PreviewLink()
    seen = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("preview").operator_extra_link_dict
    assert {name: found.xcom_key for name, found in seen.items()} == {link.name: link.xcom_key}
