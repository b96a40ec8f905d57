import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from patch_sets import write_tiny_patch_set

from satseg.config.project import parse_project
from satseg.errors import BadDataError, ConfigurationError
from satseg.stages import TrainSpec
from satseg.storage.layout import Workspace
from satseg.tracking.models import create_version, model_folder, resolve_model, set_alias
from satseg.tracking.runs import find_runs, get_run
from satseg.training.train import run

pytestmark = pytest.mark.slow

PROJECT = (Path(__file__).parent / "conftest.py").read_text().split('"""')[1]


class Shell:
    """`satseg train` as the stage operator runs it."""

    def __init__(self, workspace, tmp_path):
        self.workspace = workspace
        self.file = tmp_path / "tiny.yaml"
        self.file.write_text(PROJECT)
        self.result = tmp_path / "result.json"

    def start(self, *options):
        environment = os.environ | {"SATSEG_WORKSPACE": str(self.workspace.root)}
        command = [
            sys.executable,
            "-m",
            "satseg",
            "train",
            "-p",
            str(self.file),
            "--result",
            str(self.result),
            *options,
        ]
        return subprocess.Popen(
            command, env=environment, cwd=self.file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for_epoch(self, process, count):
        while process.poll() is None:
            for file in self.workspace.runs.glob("*/epochs.jsonl"):
                if len(file.read_text().splitlines()) >= count:
                    return
            time.sleep(0.05)
        raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """A training killed in its second epoch as a process, then ended by the same call."""
    workspace = Workspace(tmp_path_factory.mktemp("stage") / "workspace")
    write_tiny_patch_set(workspace)
    shell = Shell(workspace, tmp_path_factory.mktemp("project"))
    killed = shell.start()
    shell.wait_for_epoch(killed, 1)
    killed.kill()
    killed.communicate()
    (left,) = find_runs(workspace, "tiny")
    return workspace, left, run(TrainSpec(project=parse_project(PROJECT, "tiny.yaml")), workspace)


def test_kill_9_in_the_second_epoch_then_the_same_call_gives_one_finished_run(killed_and_resumed):
    workspace, left, result = killed_and_resumed
    assert left.status == "RUNNING"
    assert result.resumed
    assert result.run_id == left.id
    assert result.epochs == 2
    (record,) = find_runs(workspace, "tiny", {"satseg.resumed": "true"})
    assert record.status == "FINISHED"
    assert record.metrics["best_val_iou"] == pytest.approx(result.val_iou)
    lines = [json.loads(line) for line in next(workspace.runs.glob("*/epochs.jsonl")).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert sorted(path.name for path in next(workspace.runs.iterdir()).iterdir()) == ["epochs.jsonl", "result.json"]


def test_the_run_has_the_tags_params_metrics_and_pictures_that_people_look_for(killed_and_resumed):
    workspace, _, result = killed_and_resumed
    record = get_run(workspace, result.run_id)
    assert record.params["backbone"] == "mobilenet"
    assert {"loss", "val_loss", "val_iou", "val_dice", "lr", "best_val_iou"} <= record.metrics.keys()
    assert record.tags["satseg.patch_set"] == result.patch_set
    assert record.tags["satseg.dataset_version"] == "v1"
    assert {"satseg.git_commit", "satseg.git_dirty", "satseg.run_key", "satseg.init_from"} <= record.tags.keys()
    artifacts = Path(record.artifact_uri.removeprefix("file://"))
    assert {"learning_curve.png", "samples.png", "project.yaml"} <= {path.name for path in artifacts.iterdir()}


def test_the_same_training_is_not_done_twice(killed_and_resumed, project):
    workspace, _, result = killed_and_resumed
    again = run(TrainSpec(project=project()), workspace)
    assert again.run_id == result.run_id
    assert "Nothing to do" in again.message


def test_the_mlflow_model_alone_predicts_what_the_segmenter_predicts(killed_and_resumed):
    import mlflow

    from satseg.models.keras.load import load_segmenter

    workspace, _, result = killed_and_resumed
    folder = model_folder(workspace, resolve_model(workspace, "tiny", result.run_id))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    expected = load_segmenter(folder).predict(pixels)
    served = mlflow.pyfunc.load_model(str(folder.parent))
    assert np.array_equal(served.predict(pixels), expected)
    assert served.metadata.get_input_schema().to_dict()[0]["tensor-spec"]["dtype"] == "uint8"


def test_training_goes_on_from_the_champion_when_it_fits(killed_and_resumed, project):
    workspace, _, result = killed_and_resumed
    set_alias(workspace, "tiny", "champion", create_version(workspace, "tiny", result.run_id, {}, ""))
    second = run(TrainSpec(project=project(), init_from="champion"), workspace)
    assert second.epochs == 1  # retraining.epochs
    assert get_run(workspace, second.run_id).tags["satseg.init_from"] == result.run_id
    with pytest.raises(ConfigurationError, match=r"champion.*\(v1\): training.architecture is linknet there and unet"):
        run(TrainSpec(project=project("training.architecture=unet"), init_from="champion"), workspace)


def test_a_failed_run_ends_failed_with_its_traceback(killed_and_resumed, project):
    workspace = killed_and_resumed[0]
    damaged = (
        workspace.patch_set("tiny", write_tiny_patch_set(workspace, patch_set="bbbbbbbbbbbb")) / "images-00001.npy"
    )
    damaged.write_bytes(damaged.read_bytes()[: -64 * 64 * 3])
    with pytest.raises(BadDataError, match=r"images-00001.npy has \d+ bytes instead of \d+.*satseg patch --force"):
        run(TrainSpec(project=project(), patch_set="bbbbbbbbbbbb"), workspace)
    (record,) = find_runs(workspace, "tiny", {"satseg.patch_set": "bbbbbbbbbbbb"})
    assert record.status == "FAILED"
    traceback = Path(record.artifact_uri.removeprefix("file://")) / "traceback.txt"
    assert "BadDataError" in traceback.read_text()


@pytest.mark.full
def test_sigterm_saves_the_step_and_the_same_command_goes_on_there(workspace, tmp_path):
    write_tiny_patch_set(workspace)
    shell = Shell(workspace, tmp_path)
    options = ("--set", "training.epochs=3", "--set", "training.steps_per_epoch=12")
    stopped = shell.start(*options)
    shell.wait_for_epoch(stopped, 1)
    stopped.send_signal(signal.SIGTERM)
    _, words = stopped.communicate()
    assert stopped.returncode == 75, words
    (left,) = find_runs(workspace, "tiny")
    assert left.status == "KILLED"
    ended = shell.start(*options)
    printed, words = ended.communicate()
    assert ended.returncode == 0, words
    assert "going on after epoch 1" in words
    assert "Traceback" not in words
    result = json.loads(shell.result.read_text())
    assert (result["resumed"], result["run_id"], result["epochs"]) == (True, left.id, 3)
    assert result["message"] in printed
