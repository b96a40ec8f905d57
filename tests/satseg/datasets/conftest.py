"""Fixtures of the datasets room."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_drops import HOUSE, write_labels, write_scene

from satseg.config.project import ProjectConfig
from satseg.stages import IngestResult, IngestSpec
from satseg.storage.layout import Workspace

Ingest = Callable[..., IngestResult]


@pytest.fixture
def project() -> ProjectConfig:
    return ProjectConfig(name="roofs", classes=("building",))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def good_drop(tmp_path: Path) -> Path:
    """A folder with one labelled scene, 'good'."""
    write_scene(tmp_path / "drop" / "good.tif", seed=1)
    write_labels(tmp_path / "drop" / "good.json", HOUSE)
    return tmp_path / "drop"


@pytest.fixture
def ingest(workspace: Workspace, project: ProjectConfig) -> Ingest:
    """Run the stage in this process."""
    from satseg.datasets.ingest import run

    def call(source: Path | None = None, what: ProjectConfig = project, force: bool = False) -> IngestResult:
        return run(IngestSpec(project=what, source=source, force=force), workspace)

    return call
