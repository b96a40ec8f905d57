import errno
import json
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from satseg.config.training import TrainingConfig
from satseg.errors import InterruptedRunError, TemporaryError, TrainingDivergedError
from satseg.training.loop import TrainingLoop
from satseg.training.run_folder import Progress, RunFolder

Measured = namedtuple("Measured", ["loss", "confusion"])


class SummingLearner:
    """Its only weight is the sum of the batches it has seen: any batch lost, repeated or reordered shows."""

    steps_per_epoch = 4

    def __init__(self, ious=(), stop_at=None, nan_at=None):
        self.seen, self.steps_done, self.rates = 0.0, 0, []
        self.ious, self.stop_at, self.nan_at = ious, stop_at, nan_at
        self.encoder_learns = []

    def set_encoder_trainable(self, trainable):
        self.encoder_learns.append(trainable)

    def batches(self, epoch, first_step=0):
        yield from range(epoch * 10 + first_step, epoch * 10 + self.steps_per_epoch)

    def step(self, batch, learning_rate):
        if self.steps_done == self.stop_at:
            raise InterruptedRunError("stop")
        self.seen = 2 * self.seen + batch
        self.steps_done += 1
        self.rates.append(learning_rate)
        return float("nan") if self.steps_done == self.nan_at else float(batch)

    def validate(self):
        number = (self.steps_done - 1) // self.steps_per_epoch
        hits = int(1000 * self.ious[number]) if self.ious else self.steps_done
        return Measured(0.5, np.array([[0, 0], [1000 - hits, hits]]))

    def weights(self):
        return {"w0": np.array(self.seen)}

    def state(self):
        return {"w0": np.array(self.seen), "o0": np.array(self.steps_done)}

    def restore(self, state):
        self.seen, self.steps_done = float(state["w0"]), int(state["o0"])


def train(folder, learner, **config):
    logged = []
    progress = folder.open()
    TrainingLoop(learner, TrainingConfig(**config), folder, progress, logged.append).run()
    return progress, logged


def lines(folder):
    return [json.loads(line) for line in (folder.path / "epochs.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_every_epoch_is_reported_at_once_and_the_rate_ends_at_zero(folder):
    learner = SummingLearner()
    progress, logged = train(folder, learner, epochs=3)
    assert [record.epoch for record in logged] == [1, 2, 3] == [line["epoch"] for line in lines(folder)]
    assert {"epoch", "epochs", "loss", "val_loss", "val_iou", "lr", "seconds", "time"} <= lines(folder)[0].keys()
    assert logged[0].loss == pytest.approx(np.mean([10, 11, 12, 13]))
    assert len(learner.rates) == 12
    assert learner.rates[-1] == pytest.approx(0)
    assert progress.best_epoch.epoch == 3


def test_a_stopped_training_goes_on_with_the_next_batch_and_ends_like_an_undisturbed_one(folder, tmp_path):
    undisturbed = SummingLearner()
    train(RunFolder(tmp_path / "other"), undisturbed, epochs=3)
    with pytest.raises(InterruptedRunError):
        train(folder, SummingLearner(stop_at=6), epochs=3)
    assert folder.open().step == 2
    resumed = SummingLearner()
    progress, logged = train(folder, resumed, epochs=3)
    assert resumed.seen == undisturbed.seen
    assert [record.epoch for record in logged] == [2, 3]
    assert [line["epoch"] for line in lines(folder)] == [1, 2, 3]
    assert progress.history[1].loss == pytest.approx(np.mean([20, 21, 22, 23]))


class PowerCut(BaseException):
    """Ends a training like kill -9: nothing catches it to save something."""


def test_a_killed_training_repeats_only_the_unfinished_epoch_and_reports_no_epoch_twice(folder):
    def cut(record):
        if record.epoch == 2:
            raise PowerCut

    with pytest.raises(PowerCut):
        TrainingLoop(SummingLearner(), TrainingConfig(epochs=3), folder, folder.open(), cut).run()
    (folder.path / "epochs.jsonl").write_text("")  # as if killed between the state and the line
    resumed = SummingLearner()
    train(folder, resumed, epochs=3)
    assert [line["epoch"] for line in lines(folder)] == [1, 2, 3]
    assert len(resumed.rates) == 4  # the second epoch was safe before anybody heard of it


@pytest.mark.parametrize("moment", range(1, 40))
def test_a_kill_at_any_file_operation_changes_nothing_of_the_end(folder, tmp_path, monkeypatch, moment):
    undisturbed = SummingLearner(ious=(0.2, 0.6, 0.4))
    expected, _ = train(RunFolder(tmp_path / "other"), undisturbed, epochs=3)
    operations = iter(range(1, moment + 1))

    def counted(real):
        def call(*values, **named):
            if next(operations, None) is None:
                raise PowerCut
            return real(*values, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "write_text"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        with suppress(PowerCut):
            train(folder, SummingLearner(ious=(0.2, 0.6, 0.4)), epochs=3)
    again = SummingLearner(ious=(0.2, 0.6, 0.4))
    progress, _ = train(folder, again, epochs=3)
    assert again.seen == undisturbed.seen
    assert progress.best_epoch.epoch == expected.best_epoch.epoch == 2
    assert folder.arrays(progress.best)["w0"] == RunFolder(tmp_path / "other").arrays(expected.best)["w0"]
    assert [line["epoch"] for line in lines(folder)] == [1, 2, 3]


def test_told_to_stop_while_the_best_epoch_is_saved_it_is_not_lost(folder, monkeypatch):
    real = RunFolder.save_best

    def told_to_stop(self, progress, weights):
        monkeypatch.setattr(RunFolder, "save_best", real)
        raise InterruptedRunError("stop")

    monkeypatch.setattr(RunFolder, "save_best", told_to_stop)
    with pytest.raises(InterruptedRunError):
        train(folder, SummingLearner(ious=(0.6, 0.2)), epochs=2)
    resumed = SummingLearner(ious=(0.6, 0.2))
    progress, _ = train(folder, resumed, epochs=2)
    assert len(resumed.rates) == 4
    after_one = SummingLearner(ious=(0.6,))
    train(RunFolder(folder.path.with_name("one")), after_one, epochs=1)
    assert folder.arrays(progress.best)["w0"] == after_one.seen


class DoublingLearner(SummingLearner):
    """Two steps per call, as with steps_per_execution."""

    def batches(self, epoch, first_step=0):
        steps = list(super().batches(epoch, first_step))
        yield from (steps[place : place + 2] for place in range(0, len(steps), 2))

    def step(self, batch, learning_rate):
        return float(np.mean([super(DoublingLearner, self).step(one, learning_rate) for one in batch]))


def test_several_steps_per_call_count_as_several(folder, tmp_path):
    single, double = SummingLearner(), DoublingLearner()
    one, _ = train(RunFolder(tmp_path / "one"), single, epochs=2)
    two, _ = train(folder, double, epochs=2)
    assert double.seen == single.seen
    assert [record.loss for record in two.history] == pytest.approx([record.loss for record in one.history])
    assert [record.steps for record in two.history] == [4, 4]


def test_best_weights_are_those_of_the_highest_val_iou_and_old_files_go(folder):
    progress, _ = train(folder, SummingLearner(ious=(0.2, 0.6, 0.4)), epochs=3)
    after_two = SummingLearner(ious=(0.2, 0.6))
    train(RunFolder(folder.path.with_name("two")), after_two, epochs=2)
    assert progress.best_epoch.epoch == 2
    assert progress.best_epoch.val_iou == pytest.approx(0.6)
    assert folder.arrays(progress.best)["w0"] == after_two.seen
    assert sorted(path.suffix for path in folder.path.iterdir()) == [".json", ".jsonl", ".npz", ".npz"]


def test_early_stopping_waits_the_given_epochs(folder):
    progress, _ = train(folder, SummingLearner(ious=(0.5, 0.4, 0.3, 0.9)), epochs=4, early_stopping_epochs=2)
    assert len(progress.history) == 3


def test_a_plateau_lowers_the_rate_also_after_a_resume(folder):
    options = {"epochs": 6, "schedule": "plateau", "plateau_epochs": 2, "warmup_fraction": 0.0, "learning_rate": 0.8}
    ious = (0.5, 0.4, 0.4, 0.4, 0.4, 0.9)
    with pytest.raises(InterruptedRunError):
        train(folder, SummingLearner(ious, stop_at=14), **options)
    progress, _ = train(folder, SummingLearner(ious), **options)
    assert [record.lr for record in progress.history] == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.2])


def test_the_encoder_is_frozen_for_the_first_epochs_also_after_a_resume(folder):
    def run(learner):
        TrainingLoop(
            learner, TrainingConfig(epochs=3), folder, folder.open(), lambda record: None, freeze_encoder_epochs=2
        ).run()

    with pytest.raises(InterruptedRunError):
        run(first := SummingLearner(stop_at=6))
    run(second := SummingLearner())
    assert (first.encoder_learns, second.encoder_learns) == ([False, False], [False, True])


def test_an_order_from_outside_ends_the_training_after_the_epoch(folder):
    progress = folder.open()
    TrainingLoop(SummingLearner(), TrainingConfig(epochs=5), folder, progress, lambda record: record.epoch == 2).run()
    assert len(progress.history) == 2


def test_scores_of_each_class_are_kept_where_there_are_several(folder):
    class Two(SummingLearner):
        def validate(self):
            return Measured(0.5, np.array([[10, 0, 0], [0, 6, 2], [0, 0, 4]]))

    progress = folder.open()
    TrainingLoop(Two(), TrainingConfig(epochs=1), folder, progress, lambda record: None, classes=("roof", "road")).run()
    scores = progress.history[0].scores
    assert scores["val_roof_iou"] == pytest.approx(6 / 8)
    assert scores["val_road_precision"] == pytest.approx(4 / 6)
    assert scores["val_recall"] == pytest.approx((6 / 8 + 1) / 2)


def test_time_limit_ends_the_epoch_and_a_finished_state_trains_no_further(folder):
    folder.open()
    progress = Progress(seconds=120.0)
    learner = SummingLearner()
    TrainingLoop(learner, TrainingConfig(epochs=9, max_minutes=1), folder, progress, lambda record: None).run()
    assert learner.steps_done == 1
    assert len(progress.history) == 1
    train(folder, again := SummingLearner(), epochs=9, max_minutes=1)
    assert again.rates == []


def test_a_loss_that_is_no_number_names_epoch_and_step(folder):
    with pytest.raises(TrainingDivergedError, match=r"nan in epoch 2, step 3.*training.learning_rate"):
        train(folder, SummingLearner(nan_at=7), epochs=3)
    assert folder.open().best_epoch.epoch == 1


def test_a_validation_loss_that_is_no_number_names_the_epoch(folder):
    class Broken(SummingLearner):
        def validate(self):
            return Measured(float("inf"), np.zeros((2, 2), int))

    with pytest.raises(TrainingDivergedError, match=r"validation loss became inf after epoch 1"):
        train(folder, Broken(), epochs=2)


def test_no_space_for_a_checkpoint_says_how_much_is_missing_and_keeps_the_last(folder, monkeypatch):
    train(folder, SummingLearner(), epochs=1)
    before = folder.open()

    def full(*values, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(TemporaryError, match=r"No space left in .*run: a checkpoint needs 0 MiB.*goes on from"):
        train(folder, SummingLearner(), epochs=2)
    assert folder.open() == before
