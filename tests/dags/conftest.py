"""Airflow's view of the DAG files, made once."""

from typing import Any

import pytest
from parsed_dags import ROOT, describe


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow sees in the repository, with a project that asks people and has schedules, and one that searches."""
    folder = tmp_path_factory.mktemp("projects")
    for path in (ROOT / "include" / "projects").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    (folder / "roads.yaml").write_text(
        "name: roads\nclasses: [road]\npromotion: {approval: manual}\n"
        "schedule: {ingestion: '0 * * * *', inference: '0 4 * * *', drift: null}\n"
    )
    (folder / "trees.yaml").write_text(
        "name: trees\nclasses: [tree]\ntraining: {gpus: 2}\n"
        "search: {trials: 5, space: {training.learning_rate: {low: 0.0001, high: 0.01, log: true}}}\n"
    )
    return describe(tmp_path_factory.mktemp("airflow"), folder)
