import json
from collections import namedtuple

import numpy as np
import pytest

from satseg.config.training import TrainingConfig
from satseg.errors import InterruptedRunError, TrainingDivergedError
from satseg.training.loop import TrainingLoop
from satseg.training.run_folder import Progress, RunFolder

Measured = namedtuple("Measured", ["loss", "confusion"])


class SummingLearner:
    """Its only weight is the sum of the batches it has seen: any batch lost, repeated or reordered shows."""

    steps_per_epoch = 4

    def __init__(self, ious=(), stop_at=None, nan_at=None):
        self.seen, self.steps_done, self.rates = 0.0, 0, []
        self.ious, self.stop_at, self.nan_at = ious, stop_at, nan_at

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


def test_a_killed_training_repeats_only_the_unfinished_epoch_and_reports_no_epoch_twice(folder):
    class PowerCut(BaseException):
        pass

    def cut(record):
        if record.epoch == 2:
            raise PowerCut

    with pytest.raises(PowerCut):
        TrainingLoop(SummingLearner(), TrainingConfig(epochs=3), folder, folder.open(), cut).run()
    (folder.path / "epochs.jsonl").write_text("")  # as if killed between the state and the line
    resumed = SummingLearner()
    train(folder, resumed, epochs=3)
    assert [line["epoch"] for line in lines(folder)] == [1, 2, 3]
    assert len(resumed.rates) == 8


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
