"""The epochs of a training: steps, validation, best weights, early stopping, time limit, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import InterruptedRunError, TrainingDivergedError
from satseg.models.confusion import mean_dice, mean_iou
from satseg.progress import progress_bar, say
from satseg.training.run_folder import EpochRecord, Progress, RunFolder
from satseg.training.schedule import learning_rate

SAVE_EVERY_S = 300.0


class Measured(Protocol):
    """A validation."""

    @property
    def loss(self) -> float:
        """Mean loss."""
        ...

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C) pixels of the whole split by true and predicted class."""
        ...


class Learner(Protocol):
    """What the loop needs of a network with its optimiser and data."""

    steps_per_epoch: int

    @property
    def steps_done(self) -> int:
        """Steps since the start of the training."""
        ...

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        """Yield an epoch's batches from a step on."""
        ...

    def step(self, batch: Any, learning_rate: float) -> float:
        """Learn from a batch, return its loss."""
        ...

    def validate(self) -> Measured:
        """Measure the val split."""
        ...

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the weights."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return weights and optimiser state."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set what `state` returned."""
        ...


class TrainingLoop:
    """Trains until the last epoch, the time limit or early stopping; goes on from `progress`."""

    def __init__(
        self,
        learner: Learner,
        config: TrainingConfig,
        folder: RunFolder,
        progress: Progress,
        on_epoch: Callable[[EpochRecord], None],
    ) -> None:
        self.learner = learner
        self.config = config
        self.folder = folder
        self.progress = progress
        self.on_epoch = on_epoch
        if progress.checkpoint is not None:
            learner.restore(folder.arrays(progress.checkpoint))
        self._steps_at_epoch_start = learner.steps_done - progress.step
        self._clock = self._last_save = time.monotonic()

    def run(self) -> None:
        """Train all that is left.

        Raises:
            TrainingDivergedError: the loss is no number any more.
            InterruptedRunError: the process was told to stop; the state is saved.
        """
        while not self._finished():
            try:
                self._epoch()
            except (InterruptedRunError, KeyboardInterrupt):
                # the interruption may have come between an update and its bookkeeping: the optimiser knows
                self.progress.step = self.learner.steps_done - self._steps_at_epoch_start
                self._tick()
                self.folder.save(self.progress, self.learner.state())
                raise

    def _finished(self) -> bool:
        history, patience = self.progress.history, self.config.early_stopping_epochs
        best = self.progress.best_epoch
        if best is None:
            return False
        stale = patience is not None and history[-1].epoch - best.epoch >= patience
        return len(history) >= self.config.epochs or stale or self._out_of_time()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self.progress.epoch_seconds += now - self._clock
        self._clock = now

    def _out_of_time(self) -> bool:
        limit = self.config.max_minutes
        return limit is not None and self.progress.seconds >= 60.0 * limit

    def _learning_rate(self) -> float:
        total = self.config.epochs * self.learner.steps_per_epoch
        done = (len(self.progress.history) * self.learner.steps_per_epoch + self.progress.step + 1) / total
        if self.config.max_minutes is not None:  # the schedule ends with the time when that comes first
            done = max(done, self.progress.seconds / (60.0 * self.config.max_minutes))
        return learning_rate(done, self.config.learning_rate, self.config.warmup_fraction)

    def _train_epoch(self, epoch: int) -> float:
        progress, steps, rate = self.progress, self.learner.steps_per_epoch, self._learning_rate()
        with progress_bar(f"epoch {epoch}/{self.config.epochs}", steps) as advance:
            advance(progress.step)
            for batch in self.learner.batches(epoch, progress.step):
                rate = self._learning_rate()
                loss = self.learner.step(batch, rate)
                if not math.isfinite(loss):
                    raise TrainingDivergedError(
                        f"The loss became {loss} in epoch {epoch}, step {progress.step + 1}. Lower "
                        f"training.learning_rate (now {self.config.learning_rate}) or look for broken pixel values."
                    )
                progress.step += 1
                progress.loss_sum += loss
                advance()
                self._tick()
                if self._out_of_time():
                    break
                if self._clock - self._last_save > SAVE_EVERY_S:
                    self.folder.save(progress, self.learner.state())
                    self._last_save = time.monotonic()
        return rate

    def _epoch(self) -> None:
        progress, epoch = self.progress, len(self.progress.history) + 1
        rate = self._train_epoch(epoch)
        measured = self.learner.validate()
        self._tick()
        record = EpochRecord(
            epoch=epoch,
            epochs=self.config.epochs,
            loss=progress.loss_sum / max(progress.step, 1),
            val_loss=measured.loss,
            val_iou=mean_iou(measured.confusion),
            val_dice=mean_dice(measured.confusion),
            lr=rate,
            seconds=round(progress.epoch_seconds, 1),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.on_epoch(record)
        self._keep(record)
        # last, so that who sees the line knows the epoch is safe; a lost line is written again from the state
        self.folder.append_epoch(record)
        say(
            f"epoch {epoch}/{self.config.epochs} loss {record.loss:.3f} val loss {record.val_loss:.3f} "
            f"val IoU {record.val_iou:.3f} ({record.seconds:.0f} s)"
        )

    def _keep(self, record: EpochRecord) -> None:
        progress = self.progress
        progress.history = [*progress.history, record]
        progress.step, progress.loss_sum, progress.epoch_seconds = 0, 0.0, 0.0
        self._steps_at_epoch_start = self.learner.steps_done
        if progress.best_epoch == record:
            self.folder.save_best(progress, self.learner.weights())
        self.folder.save(progress, self.learner.state())
        self._last_save = time.monotonic()
