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

from satseg.errors import ConfigurationError, TrainingDivergedError
from satseg.stages import TrainSpec
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


def test_kill_9_then_sigterm_then_the_same_command_gives_one_finished_run(workspace, tmp_path):
    write_tiny_patch_set(workspace)
    shell = Shell(workspace, tmp_path)
    options = ("--set", "training.epochs=4", "--set", "training.steps_per_epoch=6")

    killed = shell.start(*options)
    shell.wait_for_epoch(killed, 1)
    killed.kill()
    killed.communicate()
    (left,) = find_runs(workspace, "tiny")
    assert left.status == "RUNNING"

    stopped = shell.start(*options)
    shell.wait_for_epoch(stopped, 2)
    stopped.send_signal(signal.SIGTERM)
    _, words = stopped.communicate()
    assert stopped.returncode == 75, words
    assert "going on after epoch 1" in words
    assert get_run(workspace, left.id).status == "KILLED"

    ended = shell.start(*options)
    printed, words = ended.communicate()
    assert ended.returncode == 0, words
    result = json.loads(shell.result.read_text())
    assert result["resumed"] is True
    assert result["run_id"] == left.id
    assert result["epochs"] == 4
    assert result["message"] in printed
    (record,) = find_runs(workspace, "tiny", {"satseg.resumed": "true"})
    assert record.status == "FINISHED"
    assert record.metrics["best_val_iou"] == pytest.approx(result["val_iou"])
    lines = [json.loads(line) for line in next(workspace.runs.glob("*/epochs.jsonl")).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert "Traceback" not in words


def test_a_run_is_tracked_loads_again_and_can_be_gone_on_from(workspace, project):
    import mlflow

    write_tiny_patch_set(workspace)
    first = run(TrainSpec(project=project()), workspace)
    record = get_run(workspace, first.run_id)
    assert record.status == "FINISHED"
    assert record.params["backbone"] == "mobilenet"
    assert {"loss", "val_loss", "val_iou", "val_dice", "lr", "best_val_iou"} <= record.metrics.keys()
    assert record.tags["satseg.patch_set"] == first.patch_set
    assert record.tags["satseg.dataset_version"] == "v1"
    assert {"satseg.git_commit", "satseg.git_dirty", "satseg.run_key", "satseg.init_from"} <= record.tags.keys()
    artifacts = Path(record.artifact_uri.removeprefix("file://"))
    assert {"learning_curve.png", "samples.png", "project.yaml"} <= {path.name for path in artifacts.iterdir()}

    again = run(TrainSpec(project=project()), workspace)
    assert again.run_id == first.run_id
    assert "Nothing to do" in again.message

    from satseg.models.keras.load import load_segmenter

    folder = model_folder(workspace, resolve_model(workspace, "tiny", first.run_id))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    expected = load_segmenter(folder).predict(pixels)
    served = mlflow.pyfunc.load_model(str(folder.parent))
    assert np.array_equal(served.predict(pixels), expected)
    assert "pixels" not in served.metadata.get_input_schema().to_json()
    assert served.metadata.get_input_schema().to_dict()[0]["tensor-spec"]["dtype"] == "uint8"

    version = create_version(workspace, "tiny", first.run_id, {}, "")
    set_alias(workspace, "tiny", "champion", version)
    second = run(TrainSpec(project=project(), init_from="champion"), workspace)
    assert second.epochs == 1  # retraining.epochs
    assert get_run(workspace, second.run_id).tags["satseg.init_from"] == first.run_id
    with pytest.raises(ConfigurationError, match=r"champion.*\(v1\): training.architecture is linknet there and unet"):
        run(TrainSpec(project=project("training.architecture=unet"), init_from="champion"), workspace)


def test_a_failed_run_ends_failed_with_its_traceback(workspace, project):
    write_tiny_patch_set(workspace)
    with pytest.raises(TrainingDivergedError, match="The loss became"):
        run(TrainSpec(project=project("training.learning_rate=1e30", "training.loss=bce")), workspace)
    (record,) = find_runs(workspace, "tiny")
    assert record.status == "FAILED"
    traceback = Path(record.artifact_uri.removeprefix("file://")) / "traceback.txt"
    assert "TrainingDivergedError" in traceback.read_text()
