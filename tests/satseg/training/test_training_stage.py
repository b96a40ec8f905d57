import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
import pytest
from patch_sets import write_tiny_patch_set

from satseg.config.project import parse_project
from satseg.config.settings import settings
from satseg.errors import BadDataError, ConfigurationError, NotFoundError, TrainingDivergedError
from satseg.stages import TrainSpec
from satseg.storage.layout import Workspace
from satseg.tracking.models import create_version, model_folder, resolve_model, set_alias
from satseg.tracking.runs import find_runs, get_run, metric_history
from satseg.training.interrupted import interrupted_training
from satseg.training.run_folder import RunFolder
from satseg.training.train import run

pytestmark = pytest.mark.slow

PROJECT = (Path(__file__).parent / "conftest.py").read_text().split('"""')[1]


OVERRIDES = ("training.steps_per_epoch=6", "training.gradient_clip_norm=1.0")


def load_network(folder):
    from satseg.models.keras.load import load_network as load

    return load(folder)


def encoder_names(network):
    from satseg.models.keras.architectures import encoder_layers

    return {layer.name for layer in encoder_layers(network)}


class Shell:
    """`satseg train` as the stage operator runs it."""

    def __init__(self, workspace, tmp_path):
        self.workspace = workspace
        self.file = tmp_path / "tiny.yaml"
        self.file.write_text(PROJECT)
        self.result = tmp_path / "result.json"

    def start(self, *options, environment=None):
        environment = os.environ | {"SATSEG_WORKSPACE": str(self.workspace.root)} | (environment or {})
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
def ends():
    """Run keys to weights and optimiser state at the end, which a finished training removes."""
    kept = {}
    real = RunFolder.finish

    def finish(self, result):
        progress = self.open()
        kept[self.path.parent.parent, self.path.name] = self.arrays(progress.checkpoint)
        real(self, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "finish", finish)
        yield kept


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory, ends):
    """A training killed in its second epoch as a process, then found by --resume and ended."""
    workspace = Workspace(tmp_path_factory.mktemp("stage") / "workspace")
    write_tiny_patch_set(workspace)
    shell = Shell(workspace, tmp_path_factory.mktemp("project"))
    killed = shell.start(*(word for override in OVERRIDES for word in ("--set", override)))
    shell.wait_for_epoch(killed, 1)
    killed.kill()
    killed.communicate()
    (left,) = find_runs(workspace, "tiny")
    return workspace, left, run(interrupted_training(workspace, "tiny"), workspace, profile=True)


def test_kill_9_in_the_second_epoch_then_resume_gives_one_finished_run(killed_and_resumed):
    workspace, left, result = killed_and_resumed
    assert left.status == "RUNNING"
    assert result.resumed
    assert result.run_id == left.id
    assert result.epochs == 2
    (record,) = find_runs(workspace, "tiny", {"satseg.resumed": "true"})
    assert record.status == "FINISHED"
    assert record.metrics["best_val_iou"] == pytest.approx(result.val_iou)
    for name, points in metric_history(workspace, left.id, ["loss", "val_iou", "val_recall", "epoch_seconds"]).items():
        assert [point.step for point in points] == [1, 2], name  # the killed process had sent the first
    folder = workspace.run(record.tags["satseg.run_key"])
    assert [json.loads(line)["epoch"] for line in (folder / "epochs.jsonl").read_text().splitlines()] == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["epochs.jsonl", "result.json"]


def test_the_same_seed_in_another_workspace_without_a_kill_ends_with_the_same_weights(
    killed_and_resumed, ends, tmp_path, monkeypatch
):
    workspace, left, _ = killed_and_resumed
    other = Workspace(tmp_path / "other")
    write_tiny_patch_set(other)
    monkeypatch.setenv("SATSEG_MLFLOW_URI", f"sqlite:///{workspace.mlflow / 'mlflow.db'}")
    settings.cache_clear()
    try:
        undisturbed = run(TrainSpec(project=parse_project(PROJECT, "tiny.yaml", OVERRIDES)), other)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert not undisturbed.resumed
    key = left.tags["satseg.run_key"]
    here, there = ends[workspace.root, key], ends[other.root, key]
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_the_run_has_the_tags_params_metrics_and_pictures_that_people_look_for(killed_and_resumed):
    workspace, _, result = killed_and_resumed
    record = get_run(workspace, result.run_id)
    assert record.params["backbone"] == "mobilenet"
    learnt = {"loss", "val_loss", "val_iou", "val_dice", "val_precision", "val_recall", "lr", "best_val_iou"}
    assert learnt <= record.metrics.keys()
    assert record.tags["satseg.patch_set"] == result.patch_set
    assert record.tags["satseg.dataset_version"] == "v1"
    assert {"satseg.git_commit", "satseg.git_dirty", "satseg.run_key", "satseg.init_from"} <= record.tags.keys()
    artifacts = Path(record.artifact_uri.removeprefix("file://"))
    logged = {"learning_curve.png", "samples.png", "project.yaml", "packages.txt", "profile"}
    assert logged <= {path.name for path in artifacts.iterdir()}
    assert f"tensorflow=={version('tensorflow')}" in (artifacts / "packages.txt").read_text()
    assert list((artifacts / "profile").rglob("*.xplane.pb"))
    project = parse_project((artifacts / "project.yaml").read_text(), "project.yaml")
    assert project == parse_project(PROJECT, "tiny.yaml", OVERRIDES)


def test_the_same_training_is_not_done_twice(killed_and_resumed, project):
    workspace, _, result = killed_and_resumed
    again = run(TrainSpec(project=project(*OVERRIDES)), workspace)
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
    asked = TrainSpec(project=project("training.architecture=unet"), init_from="champion", same_network=True)
    with pytest.raises(ConfigurationError, match=r"champion.*\(v1\): training.architecture is linknet there and unet"):
        run(asked, workspace)
    again = run(asked.model_copy(update={"same_network": False}), workspace)
    assert again.run_id == second.run_id  # the network is the model's, so it is the same training


@pytest.mark.full
def test_training_goes_on_from_a_file(killed_and_resumed, project, tmp_path):
    workspace, _, result = killed_and_resumed
    folder = model_folder(workspace, resolve_model(workspace, "tiny", result.run_id))
    shutil.copytree(folder, tmp_path / "model")
    frozen = project("retraining.freeze_encoder_epochs=1", "retraining.learning_rate=0.01")
    done = run(TrainSpec(project=frozen, init_from=str(tmp_path / "model")), workspace)
    record = get_run(workspace, done.run_id)
    assert record.tags["satseg.init_from"].startswith("file:")
    assert record.params["freeze_encoder_epochs"] == "1"
    after = load_network(model_folder(workspace, resolve_model(workspace, "tiny", done.run_id)))
    before = load_network(folder)
    moved = {
        layer.name
        for layer, old in zip(after.layers, before.layers, strict=True)
        if any(not np.array_equal(new, was) for new, was in zip(layer.get_weights(), old.get_weights(), strict=True))
    }
    assert any(name.startswith("decoder") for name in moved)
    assert moved.isdisjoint(encoder_names(before))
    with pytest.raises(NotFoundError, match=r"no model.keras there.*models:/ URI"):
        run(TrainSpec(project=project(), init_from=str(tmp_path / "nothing")), workspace)


def test_a_patch_set_of_other_bands_or_classes_is_refused_before_tensorflow(killed_and_resumed, project):
    workspace = killed_and_resumed[0]
    for change, words in (
        ("bands=[red, green]", r"has the bands band0, band1, band2, but project 'tiny' has red, green.*satseg patch"),
        ("classes=[roof]", r"has the classes building, but project 'tiny' has roof"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            run(TrainSpec(project=project(change)), workspace)
    with pytest.raises(ConfigurationError, match=r"training.backbone: unknown 'mobilnet'; did you mean 'mobilenet'"):
        run(TrainSpec(project=project("training.backbone=mobilnet")), workspace)


def test_a_diverged_training_keeps_its_last_good_weights_in_mlflow(killed_and_resumed, project, monkeypatch):
    from satseg.models.keras.learner import KerasLearner

    real = KerasLearner.step

    def diverging(self, batch, rate):
        loss = real(self, batch, rate)
        return float("nan") if self.steps_done > self.steps_per_epoch else loss

    monkeypatch.setattr(KerasLearner, "step", diverging)
    workspace = killed_and_resumed[0]
    asked = TrainSpec(project=project("training.seed=5", "training.steps_per_epoch=2"))
    with pytest.raises(TrainingDivergedError, match=r"became nan in epoch 2, step 1.*training.learning_rate"):
        run(asked, workspace)
    (record,) = find_runs(workspace, "tiny", {"satseg.last_good_epoch": "1"})
    assert record.status == "FAILED"
    artifacts = Path(record.artifact_uri.removeprefix("file://"))
    assert "TrainingDivergedError" in (artifacts / "traceback.txt").read_text()
    load_network(artifacts / "last_good")
    with pytest.raises(NotFoundError, match="No interrupted training"):  # going on cannot help this one
        interrupted_training(workspace, "tiny")


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
@pytest.mark.timeout(1800)
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
    ended = shell.start("--resume")
    printed, words = ended.communicate()
    assert ended.returncode == 0, words
    assert "going on after epoch 1" in words
    assert "Traceback" not in words
    result = json.loads(shell.result.read_text())
    assert (result["resumed"], result["run_id"], result["epochs"]) == (True, left.id, 3)
    assert result["message"] in printed


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", range(4))
def test_kill_9_at_any_moment_and_resume_ends_with_the_weights_of_an_undisturbed_run(ends, workspace, tmp_path, moment):
    write_tiny_patch_set(workspace)
    other = Workspace(tmp_path / "other")
    write_tiny_patch_set(other)
    overrides = ("training.epochs=4", "training.steps_per_epoch=5", "training.early_stopping_epochs=4")
    project = parse_project(PROJECT, "tiny.yaml", overrides)
    shell = Shell(workspace, tmp_path)
    for kill in range(2):  # twice: the second kill meets a resumed training
        process = shell.start(*(word for override in overrides for word in ("--set", override)))
        shell.wait_for_epoch(process, 1 + kill)
        time.sleep(0.4 * moment)
        process.kill()
        process.communicate()
    resumed = run(TrainSpec(project=project), workspace)
    undisturbed = run(TrainSpec(project=project), other)
    assert resumed.epochs == undisturbed.epochs == 4
    (key,) = (path.name for path in other.runs.iterdir())
    if resumed.resumed:  # otherwise it ended before the last kill
        here, there = ends[workspace.root, key], ends[other.root, key]
        assert all(np.array_equal(here[name], there[name]) for name in there)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_training_outlives_mlflow_and_what_it_could_not_log_is_sent_by_the_next_try(workspace, tmp_path):
    write_tiny_patch_set(workspace)
    shell = Shell(workspace, tmp_path)
    port = free_port()
    options = ("--set", "training.epochs=3", "--set", "training.steps_per_epoch=8")
    around = {
        "SATSEG_MLFLOW_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "SATSEG_MLFLOW_PATIENCE_MINUTES": "0.02",
    }
    server = start_mlflow(tmp_path, port)
    try:
        process = shell.start(*options, environment=around)
        shell.wait_for_epoch(process, 1)
        stop_group(server)
        _, words = process.communicate()
        assert process.returncode == 75, words
        assert "Training goes on; 1 epochs wait to be logged" in words
        (folder,) = workspace.runs.iterdir()
        assert len((folder / "epochs.jsonl").read_text().splitlines()) == 3
        server = start_mlflow(tmp_path, port)
        again = shell.start("--resume", environment=around | {"SATSEG_MLFLOW_PATIENCE_MINUTES": "1"})
        _, words = again.communicate()
        assert again.returncode == 0, words
        assert "epoch 3/3" not in words  # nothing was trained again
        result = json.loads(shell.result.read_text())
        history = httpx.get(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/metrics/get-history",
            params={"run_id": result["run_id"], "metric_key": "val_iou"},
        ).json()
        assert sorted(metric["step"] for metric in history["metrics"]) == [1, 2, 3]
    finally:
        stop_group(server)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_mlflow(folder, port):
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return server
        time.sleep(0.5)
    stop_group(server)
    raise AssertionError("the MLflow server did not come up")


def stop_group(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
