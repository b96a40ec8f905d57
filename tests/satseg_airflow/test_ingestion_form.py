"""The form of scene_ingestion becomes the command line of `satseg ingest`."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from airflow.dag_processing.dagbag import DagBag

from satseg.config.settings import settings
from satseg_airflow.operators.stage import command_arguments

ROOT = Path(__file__).parents[2]
FIXED = ["--set", "annotations.strict=False", "--no-retry-quarantine", "--no-force"]


@pytest.fixture(scope="module")
def dag() -> Any:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(ROOT / "include" / "projects"))
    settings.cache_clear()
    try:
        bag = DagBag(str(ROOT / "dags" / "scene_ingestion.py"))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert bag.import_errors == {}
    return bag.dags["buildings.scene_ingestion"]


def words(dag: Any, **form: Any) -> list[str]:
    """Return the command line's arguments for a filled form."""
    params = dag.params.dump() | form
    templates = dag.get_task("ingest").arguments
    return command_arguments([jinja2.Template(template).render(params=params) for template in templates])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({}, FIXED),
        ({"source": "/data/may"}, ["/data/may", *FIXED]),
        ({"retry_quarantine": True}, [*FIXED[:2], "--retry-quarantine", "--no-force"]),
        ({"force": True, "strict": True}, ["--set", "annotations.strict=True", "--no-retry-quarantine", "--force"]),
    ],
)
def test_each_choice_is_an_argument(dag, form, expected) -> None:
    assert words(dag, **form) == expected


def test_the_form_describes_every_choice(dag) -> None:
    assert set(dag.params) == {"source", "retry_quarantine", "strict", "force"}
    for name in dag.params:
        assert dag.params.get_param(name).description
