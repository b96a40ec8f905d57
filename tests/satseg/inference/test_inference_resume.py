"""A killed prediction goes on where it was, and shares of a scene predicted apart are joined, with the same result."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.errors import ConfigurationError
from satseg.inference import mapping, parts, predict
from satseg.inference.chosen_model import ChosenModel
from satseg.models import exports
from satseg.models.exports import EngineChoice
from satseg.models.interface import ModelDescription
from satseg.stages import PredictResult, PredictSpec
from satseg.storage.layout import Workspace

SceneWriter = Callable[..., Path]

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from satseg.inference import parts, predict
from satseg.inference.chosen_model import ChosenModel
from satseg.models.interface import ModelDescription
from satseg.stages import PredictSpec
from satseg.storage.layout import Workspace

class Killed:
    calls = 0
    def predict(self, images):
        self.calls += 1
        if self.calls == int(calls):
            os.kill(os.getpid(), signal.SIGKILL)
        return (images.astype(np.float32).mean(axis=-1, keepdims=True) / 255).astype(np.float32)

spec, workspace, description, calls = sys.argv[1:]
model = ChosenModel("v3", "3", "ab" * 16, None, Path(), ModelDescription.model_validate_json(description))
model.__dict__["segmenter"] = Killed()
predict.choose_model = lambda *arguments: model
parts.PANEL_BYTES, parts.LEAST_WINDOWS = 1, 4  # several panels even in a small scene
predict.run(PredictSpec.model_validate_json(spec), Workspace(Path(workspace)))
"""
SIZE = (1400, 700)


@pytest.fixture
def scene(write_scene: SceneWriter) -> Path:
    """Three rows of two parts, with objects that cross their borders."""
    return write_scene(size=SIZE, rectangles=((400, 100, 1300, 140), (500, 300, 530, 600), (20, 30, 60, 90)))


@pytest.fixture
def narrow_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PANEL_BYTES", 1)
    monkeypatch.setattr(parts, "LEAST_WINDOWS", 4)


def run(project: ProjectConfig, workspace: Workspace, scene: Path, **options: Any) -> PredictResult:
    return predict.run(PredictSpec(project=project, scenes=[str(scene)], **options), workspace)


def contents(result: PredictResult) -> dict[str, str]:
    """Return the checksums of all files but the item, which holds the time."""
    folder = Path(result.predictions[0].item).parent
    names = ("probability.tif", "classes.tif", "polygons.geojson", "polygons.parquet", "preview.png")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture
def uninterrupted(
    model: ChosenModel, project: ProjectConfig, scene: Path, tmp_path: Path
) -> tuple[dict[str, str], int]:
    """What the prediction in one go, without panels, gives, and how often the model was called."""
    result = run(project, Workspace(tmp_path / "other"), scene)
    assert result.predictions[0].objects == 3
    return contents(result), model.segmenter.calls  # type: ignore[attr-defined]


def kill_after(calls: int, project: ProjectConfig, workspace: Workspace, scene: Path, model: ChosenModel) -> None:
    spec = PredictSpec(project=project, scenes=[str(scene)]).model_dump_json()
    arguments = [spec, str(workspace.root), model.description.model_dump_json(), str(calls)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    folder = workspace.root / "predictions" / "roofs" / "town"
    assert all(path.name.startswith(".tmp-") for path in folder.iterdir())
    assert list(folder.rglob("item.json")) == []


@pytest.mark.usefixtures("narrow_panels")
def test_a_killed_prediction_goes_on_after_its_last_part_with_the_same_result(
    model: ChosenModel,
    project: ProjectConfig,
    scene: Path,
    workspace: Workspace,
    uninterrupted: tuple[dict[str, str], int],
) -> None:
    whole, calls = uninterrupted
    kill_after(int(0.8 * calls), project, workspace, scene, model)
    before = model.segmenter.calls  # type: ignore[attr-defined]
    assert contents(run(project, workspace, scene)) == whole
    assert model.segmenter.calls - before < 0.6 * calls  # type: ignore[attr-defined]
    assert [path.name for path in (workspace.root / "predictions" / "roofs" / "town").iterdir()] == ["v3"]


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.usefixtures("narrow_panels")
def test_twenty_kills_at_any_moment_change_nothing(
    model: ChosenModel,
    project: ProjectConfig,
    scene: Path,
    workspace: Workspace,
    uninterrupted: tuple[dict[str, str], int],
) -> None:
    whole, calls = uninterrupted
    moments = np.random.default_rng(0).integers(1, int(0.9 * calls), 20).tolist()
    for number, moment in enumerate(moments):
        place = Workspace(workspace.root / str(number))
        kill_after(moment, project, place, scene, model)
        assert contents(run(project, place, scene)) == whole


@pytest.mark.usefixtures("narrow_panels")
def test_shares_predicted_apart_are_joined_without_predicting_again(
    model: ChosenModel,
    project: ProjectConfig,
    scene: Path,
    workspace: Workspace,
    uninterrupted: tuple[dict[str, str], int],
) -> None:
    whole, _ = uninterrupted
    for number in (3, 1, 2):
        share = run(project, workspace, scene, part=f"{number}/3")
        assert share.predictions == []
        assert "run it without --part to join" in share.message
    before = model.segmenter.calls  # type: ignore[attr-defined]
    assert contents(run(project, workspace, scene)) == whole
    assert model.segmenter.calls == before  # type: ignore[attr-defined]
    assert "there already" in run(project, workspace, scene, part="2/3").message


def test_a_share_that_does_not_exist_is_refused(
    model: ChosenModel, project: ProjectConfig, scene: Path, workspace: Workspace
) -> None:
    with pytest.raises(ConfigurationError, match="no part 4/3"):
        run(project, workspace, scene, part="4/3")
    assert "predicted" in run(project, workspace, scene, part="9/9").message  # fewer rows of parts than shares


def test_the_plan_shares_large_scenes_alone(
    model: ChosenModel, project: ProjectConfig, scene: Path, write_scene: SceneWriter, workspace: Workspace
) -> None:
    settings = project.inference.model_copy(update={"split_mpix": 0.4})
    project = project.model_copy(update={"inference": settings})
    spec = PredictSpec(project=project, scenes=[str(scene), str(write_scene("small.tif"))], step="plan")
    planned = predict.run(spec, workspace)
    assert planned.parts == [[str(scene), "1/3"], [str(scene), "2/3"], [str(scene), "3/3"]]
    assert (planned.scenes, planned.predictions) == (["town", "small"], [])
    run(project, workspace, scene)
    assert predict.run(spec, workspace).parts == []


def test_other_settings_or_force_do_not_use_the_parts_of_a_killed_run(
    model: ChosenModel, project: ProjectConfig, scene: Path, workspace: Workspace
) -> None:
    run(project, workspace, scene, part="1/1")
    calls = model.segmenter.calls  # type: ignore[attr-defined]
    other = project.model_copy(update={"inference": project.inference.model_copy(update={"threshold": 0.9})})
    run(other, workspace, scene)
    assert model.segmenter.calls == 2 * calls  # type: ignore[attr-defined]
    assert [path.name for path in (workspace.root / "predictions" / "roofs" / "town").iterdir()] == ["v3"]
    run(project, workspace, scene, part="1/1")
    run(project, workspace, scene, force=True)
    assert model.segmenter.calls == 4 * calls  # type: ignore[attr-defined]


def test_an_error_while_tracing_ends_the_prediction(
    model: ChosenModel, project: ProjectConfig, scene: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> NDArray[Any]:
        raise MemoryError("tracing")

    monkeypatch.setattr(mapping, "find_groups", broken)
    with pytest.raises(MemoryError, match="tracing"):
        run(project, workspace, scene)
    monkeypatch.undo()


def test_the_record_names_the_engine_and_another_engine_predicts_again(
    model: ChosenModel, project: ProjectConfig, scene: Path, workspace: Workspace
) -> None:
    result = run(project, workspace, scene)
    item = json.loads(Path(result.predictions[0].item).read_text())
    assert (result.engine, item["properties"]["satseg:engine"]) == ("tf", "tf")
    assert "there already" in run(project, workspace, scene).message
    object.__setattr__(model, "choice", EngineChoice("onnx", Path("exported")))
    other = run(project, workspace, scene)
    assert "there already" not in other.message
    assert other.engine == "onnx"


def test_the_chosen_engine_is_what_runs_the_model(
    description: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str]] = []
    monkeypatch.setattr(exports, "load_engine", lambda folder, engine, threads=None: asked.append((folder, engine)))
    ChosenModel("v3", "3", "ab" * 16, None, tmp_path, description).segmenter  # noqa: B018 - loads it
    choice = EngineChoice("litert_int8", tmp_path / "int8")
    ChosenModel("v3", "3", "ab" * 16, None, tmp_path, description, choice).segmenter  # noqa: B018
    assert asked == [(tmp_path, "tf"), (tmp_path / "int8", "litert_int8")]
