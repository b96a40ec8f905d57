"""What may be given as the source of an ingest."""

from pathlib import Path

import pytest
from affine import Affine
from dataset_drops import write_scene

from satseg.cli.app import main
from satseg.config.project import ProjectConfig
from satseg.config.settings import settings
from satseg.datasets.ingest import run
from satseg.stages import IngestSpec
from satseg.storage.layout import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "roofs.yaml").write_text("name: roofs\nclasses: [roof]\n")
    monkeypatch.setenv("SATSEG_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("SATSEG_PROJECTS_DIR", str(tmp_path / "projects"))
    settings.cache_clear()
    yield tmp_path / "workspace"
    settings.cache_clear()


def test_empty_source_is_not_the_current_folder(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", ""]) == 2
    assert "SOURCE is empty" in capsys.readouterr().err
    assert not workspace.exists()


def test_folder_that_holds_the_workspace_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(workspace.parent)]) == 2
    assert "whose own files are no new scenes" in capsys.readouterr().err
    assert not (workspace / "data").exists()


@pytest.mark.slow
def test_scene_much_coarser_than_the_project_is_refused_before_it_grows(tmp_path: Path, workspace: Path) -> None:
    project = ProjectConfig(name="roofs", classes=("building",), gsd_m=0.15)
    coarse = Affine(10, 0, 500_000, 0, -10, 40_000)
    write_scene(tmp_path / "drop" / "satellite.tif", transform=coarse)
    write_scene(tmp_path / "drop" / "drone.tif", seed=2)
    result = run(IngestSpec(project=project, source=tmp_path / "drop"), Workspace(workspace))
    assert result.scenes == ["drone"]
    assert "66.67 times coarser than the project's GSD of 0.15 m" in result.quarantined["satellite"][0]
