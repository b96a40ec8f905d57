"""The search around the trainings: a function of the learning rate stands for a training where the text says so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from patch_sets import write_tiny_patch_set

from satseg.config.project import parse_project
from satseg.errors import BadDataError, ConfigurationError, InterruptedRunError, NotFoundError, TrainingDivergedError
from satseg.stages import TrainResult, TuneSpec
from satseg.storage.layout import Workspace
from satseg.tracking.runs import find_runs, get_run
from satseg.training import train
from satseg.training.run_folder import EpochRecord
from satseg.training.tune import run

PROJECT = """
name: tiny
classes: [building]
bands: [band0, band1, band2]
patches: {size_px: 64, stride_px: 64, block_px: 64}
training: {backbone: mobilenet, batch_size: 4, epochs: 1, steps_per_epoch: 2, learning_rate: 0.003}
search:
  trials: 3
  startup_trials: 2
  prune_after_epochs: 1
  space: {training.learning_rate: {low: 1.0e-4, high: 0.1, log: true}}
"""


def project(*overrides):
    return parse_project(PROJECT, "tiny.yaml", overrides)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            "training.learning_rat: {low: 1, high: 2}",
            "training.learning_rat: unknown key; did you mean 'learning_rate'",
        ),
        ("training.learning_rate: {low: 2, high: 1}", "low 2.0 is not below high 1.0"),
        ("training.learning_rate: {low: 0, high: 1, log: true}", "log needs a low above 0"),
        ("training.learning_rate: {low: -1, high: 1}", "-1.0 is not possible: Input should be greater than 0"),
        ("training.batch_size: {low: 2, high: 9}", "valid integer.*add integer: true"),
        ("training.architecture: {choices: [unet, unext]}", "'unext' is not possible.*'linknet', 'unet'"),
        ("training.epochs: {choices: [1], low: 1}", "either choices or low and high"),
        ("training.epochs: {low: 1}", "give low and high, or choices"),
        ("training.epochs.x: {low: 1, high: 2}", "'epochs' is a value, not a section"),
        ("patches.size_px: {low: 64, high: 128}", r"only keys training.\* and retraining.\* can be searched"),
    ],
)
def test_a_wrong_search_space_is_refused_when_the_project_is_read(space, words):
    with pytest.raises(ConfigurationError, match=words):
        parse_project(f"name: a\nclasses: [b]\nsearch: {{space: {{{space}}}}}\n", "a.yaml")


def test_a_project_without_a_search_space_says_how_to_add_one(workspace):
    spec = TuneSpec(project=parse_project("name: a\nclasses: [b]\n", "a.yaml"))
    with pytest.raises(ConfigurationError, match=r"no search space.*training.learning_rate.*satseg train"):
        run(spec, workspace)


def test_steps_need_to_know_study_and_trial(workspace):
    for spec, words in (
        (TuneSpec(project=project(), step="best"), "--step best needs --study"),
        (TuneSpec(project=project(), step="trial", study="abc"), "No study 'abc'"),
    ):
        with pytest.raises((ConfigurationError, NotFoundError), match=words):
            run(spec, workspace)


@pytest.fixture(scope="module")
def workspace_with_mlflow(tmp_path_factory):
    """One MLflow database for the module: making it takes seconds."""
    workspace = Workspace(tmp_path_factory.mktemp("tune"))
    write_tiny_patch_set(workspace)
    find_runs(workspace, "tiny")
    return workspace


@pytest.fixture
def trained(monkeypatch):
    """Replaces the training by a function of the rate; `trained.behave` may raise. Returns the specs it was given."""

    class Trained(list):
        def behave(self, spec):
            return None

        def run(self, spec, workspace, should_stop):
            self.append(spec)
            self.behave(spec)
            rate = spec.project.training.learning_rate
            iou = min(1.0, 10 * rate)
            record = EpochRecord(
                epoch=1, epochs=1, loss=1, val_loss=1, val_iou=iou, val_dice=iou, lr=rate, seconds=1, time=""
            )
            pruned = should_stop(record)
            return TrainResult(
                message="", run_id=f"run-{spec.trial}", patch_set=spec.patch_set, epochs=1, best_epoch=1, val_iou=iou,
                pruned=pruned,
            )  # fmt: skip

    fake = Trained()
    monkeypatch.setattr(train, "run", fake.run)
    return fake


def steps(workspace, what, trials=3):
    plan = run(TuneSpec(project=what, step="plan", trials=trials), workspace)

    def step(name, **more):
        return run(TuneSpec(project=what, step=name, study=plan.study, **more), workspace)

    return plan, step


@pytest.mark.slow
def test_each_trial_is_a_child_of_one_run_and_the_best_goes_on(workspace_with_mlflow, trained):
    plan, step = steps(workspace_with_mlflow, project("search.prune=false"))
    again, _ = steps(workspace_with_mlflow, project("search.prune=false"))
    assert (again.study, again.parent_run) == (plan.study, plan.parent_run)
    results = [step("trial", trial=place) for place in range(3)]
    assert trained[0].project.training.learning_rate == 0.003  # the project's own value comes first
    assert {spec.parent_run for spec in trained} == {plan.parent_run}
    assert [spec.trial for spec in trained] == [f"{plan.study}/{place}" for place in range(3)]
    best = step("best")
    assert best.val_iou == max(result.val_iou for result in results)
    assert best.run_id == f"run-{plan.study}/{best.trial}"
    assert best.patch_set == plan.patch_set == "aaaaaaaaaaaa"
    parent = get_run(workspace_with_mlflow, plan.parent_run)
    assert parent.status == "FINISHED"
    assert parent.tags["satseg.best_run"] == best.run_id
    artifacts = Path(parent.artifact_uri.removeprefix("file://"))
    assert [record["place"] for record in json.loads((artifacts / "trials.json").read_text())] == [0, 1, 2]
    assert (artifacts / "history.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_trial_that_was_done_is_not_done_again_and_more_trials_continue_the_search(workspace_with_mlflow, trained):
    what = project("training.seed=1")
    _, step = steps(workspace_with_mlflow, what, trials=1)
    first = step("trial", trial=0)
    assert step("trial", trial=0) == first
    plan, step = steps(workspace_with_mlflow, what, trials=2)
    assert plan.trials == 2
    step("trial", trial=0)
    step("trial", trial=1)
    assert len(trained) == 2
    with pytest.raises(ConfigurationError, match=r"--trial N, 0 … 1, not 2"):
        step("trial", trial=2)


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_with_its_own_values_and_a_dead_one_blocks_nothing(workspace_with_mlflow, trained):
    def stop(spec):
        raise InterruptedRunError("Told to stop")

    plan, step = steps(workspace_with_mlflow, project("training.seed=2"))
    step("trial", trial=0)
    trained.behave = stop
    for place in (1, 2):
        with pytest.raises(InterruptedRunError):
            step("trial", trial=place)
    del trained.behave
    step("trial", trial=1)
    assert trained[1] == trained[3]
    best = step("best")
    assert best.states["failed"] == 1
    assert best.warnings == ["trial 2 was killed and not run again"]
    assert step("trial", trial=2).state in {"complete", "pruned"}  # who asks for it again gets it
    assert step("best").warnings == []
    assert plan.trials == 3


@pytest.mark.slow
def test_a_trial_that_diverges_is_a_result_and_only_if_all_do_the_search_fails(workspace_with_mlflow, trained):
    def diverge(spec):
        raise TrainingDivergedError("The loss became nan in epoch 1, step 2.")

    _, step = steps(workspace_with_mlflow, project("training.seed=3"), trials=2)
    trained.behave = diverge
    assert step("trial", trial=0).state == "failed"
    with pytest.raises(BadDataError, match=r"No trial.*trial 0: The loss became nan"):
        step("best")
    del trained.behave
    step("trial", trial=1)
    best = step("best")
    assert best.trial == 1
    assert best.states == {"complete": 1, "pruned": 0, "failed": 1}


def satseg(workspace, file, *words):
    environment = os.environ | {"SATSEG_WORKSPACE": str(workspace.root)}
    command = [sys.executable, "-m", "satseg", *words, "-p", str(file), "--result", str(file.with_suffix(".json"))]
    return subprocess.Popen(command, env=environment, cwd=file.parent, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.full
def test_a_trial_really_trains(workspace_with_mlflow):
    plan, step = steps(workspace_with_mlflow, project("training.seed=11"), trials=1)
    step("trial", trial=0)
    best = step("best")
    (child,) = find_runs(workspace_with_mlflow, "tiny", {"mlflow.parentRunId": plan.parent_run})
    assert child.id == best.run_id
    assert child.status == "FINISHED"
    assert child.tags["satseg.model_uri"]
    assert child.params["learning_rate"] == "0.003"


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_satseg_tune_trains_and_leaves_the_best_model_ready_to_evaluate(workspace_with_mlflow, tmp_path):
    workspace, file = workspace_with_mlflow, tmp_path / "tiny.yaml"
    file.write_text(PROJECT)
    process = satseg(workspace, file, "tune", "--trials", "2", "--set", "training.seed=9")
    _, words = process.communicate()
    assert process.returncode == 0, words
    result = json.loads(file.with_suffix(".json").read_text())
    assert result["states"] == {"complete": 2, "pruned": 0, "failed": 0}
    children = find_runs(workspace, "tiny", {"mlflow.parentRunId": result["parent_run"]})
    assert len(children) == 2
    assert all(child.status == "FINISHED" and child.tags["satseg.model_uri"] for child in children)
    assert result["run_id"] in {child.id for child in children}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_trials_of_which_three_are_killed_on_two_fake_gpus(workspace_with_mlflow, tmp_path, monkeypatch):
    workspace, file = workspace_with_mlflow, tmp_path / "tiny.yaml"
    file.write_text(PROJECT)
    monkeypatch.setenv("SATSEG_GPU_COUNT", "2")
    process = satseg(workspace, file, "tune", "--trials", "8", "--set", "training.seed=10")
    killed: set[int] = set()
    most = Counter[str]()
    while process.poll() is None:
        holders = trial_processes(workspace)
        for pid, device, place in holders:
            most[device] = max(most[device], sum(other == device for _, other, _ in holders))
            if len(killed) < 3 and place in {1, 3, 6} and place not in killed:
                killed.add(place)
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    assert process.returncode == 0, process.stderr.read()
    result = json.loads(file.with_suffix(".json").read_text())
    assert sum(result["states"].values()) == 8
    assert result["states"]["failed"] == 0
    assert killed == {1, 3, 6}
    assert most == {"0": 1, "1": 1}


def trial_processes(workspace):
    """Return {(pid, device, trial)} of the processes that hold a device's lock, as the kernel shows them."""
    paths = {device: workspace.lock(f"gpu-{device}") for device in ("0", "1")}
    inodes = {str(path.stat().st_ino): device for device, path in paths.items() if path.exists()}
    found = set()
    for line in kernel_locks():
        fields = line.split()
        device = inodes.get(fields[-3].rpartition(":")[2])
        if device is None or "FLOCK" not in fields:
            continue
        pid = int(fields[fields.index("FLOCK") + 3])
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "--trial" in words:
            found.add((pid, device, int(words[words.index("--trial") + 1])))
    return found


def kernel_locks():
    """Return the lines of /proc/locks at one moment: a second read would go on in a list that has changed."""
    descriptor = os.open("/proc/locks", os.O_RDONLY)
    try:
        return os.read(descriptor, 2**16).decode().splitlines()
    finally:
        os.close(descriptor)
