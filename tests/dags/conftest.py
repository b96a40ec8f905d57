"""Airflow's view of the DAG files, made once."""

from typing import Any

import pytest
from parsed_dags import ROOT, describe


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow sees in the repository, with a second project that asks people and has schedules."""
    folder = tmp_path_factory.mktemp("projects")
    for path in (ROOT / "include" / "projects").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    (folder / "roads.yaml").write_text(
        "name: roads\nclasses: [road]\npromotion: {approval: manual}\n"
        "schedule: {ingestion: '0 * * * *', inference: '0 4 * * *', drift: null}\n"
    )
    return describe(tmp_path_factory.mktemp("airflow"), folder)
