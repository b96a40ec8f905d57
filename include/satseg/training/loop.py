"""The epochs of a training: steps, validation, best weights, early stopping, time limit, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from satseg.config.training import TrainingConfig
from satseg.errors import InterruptedRunError, TrainingDivergedError
from satseg.models.confusion import class_metrics, mean_metrics
from satseg.progress import progress_bar, say
from satseg.training.run_folder import EpochRecord, Progress, RunFolder
from satseg.training.schedule import learning_rate, plateaus

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
        """Learn from an item of `batches` (one step or several), return its mean loss."""
        ...

    def set_encoder_trainable(self, trainable: bool) -> None:
        """Freeze the encoder or set it free."""
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
    """Trains until the last epoch, the time limit, early stopping or a stop from outside; goes on from `progress`."""

    def __init__(
        self,
        learner: Learner,
        config: TrainingConfig,
        folder: RunFolder,
        progress: Progress,
        on_epoch: Callable[[EpochRecord], bool | None],
        *,
        classes: Sequence[str] = (),
        freeze_encoder_epochs: int = 0,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Restore the checkpoint that `progress` names.

        Args:
            learner: what learns.
            config: how long and how fast.
            folder: where checkpoints go.
            progress: where an earlier process stopped; kept up to date.
            on_epoch: called once an epoch is safe on disk; what is true ends the training.
            classes: names without background, for scores of each class.
            freeze_encoder_epochs: epochs in which the encoder keeps its weights.
            on_step: called after each step.
        """
        self.learner = learner
        self.config = config
        self.folder = folder
        self.progress = progress
        self.on_epoch = on_epoch
        self.classes = classes
        self.freeze_encoder_epochs = freeze_encoder_epochs
        self.on_step = on_step
        self._stopped = False
        if progress.checkpoint is not None:
            learner.restore(folder.arrays(progress.checkpoint))
        self._clock = self._last_save = time.monotonic()

    def run(self) -> None:
        """Train all that is left.

        Raises:
            TrainingDivergedError: the loss is no number any more.
            InterruptedRunError: the process was told to stop; the state is saved.
            TemporaryError: no space for a checkpoint.
        """
        while not self._finished():
            try:
                self._epoch()
            except (InterruptedRunError, KeyboardInterrupt):
                # the interruption may have come between an update and its bookkeeping: the optimiser knows
                self.progress.step = self.learner.steps_done - self.progress.steps_before
                self._tick()
                self._save()
                raise

    def _finished(self) -> bool:
        history, patience = self.progress.history, self.config.early_stopping_epochs
        best = self.progress.best_epoch
        if best is None:
            return False
        stale = patience is not None and history[-1].epoch - best.epoch >= patience
        return len(history) >= self.config.epochs or stale or self._out_of_time() or self._stopped

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self.progress.epoch_seconds += now - self._clock
        self._clock = now

    def _out_of_time(self) -> bool:
        limit = self.config.max_minutes
        return limit is not None and self.progress.seconds >= 60.0 * limit

    def _learning_rate(self) -> float:
        config, history = self.config, self.progress.history
        total = config.epochs * self.learner.steps_per_epoch
        done = (len(history) * self.learner.steps_per_epoch + self.progress.step + 1) / total
        if config.max_minutes is not None:  # the schedule ends with the time when that comes first
            done = max(done, self.progress.seconds / (60.0 * config.max_minutes))
        if config.schedule == "plateau":
            found = plateaus((record.val_iou for record in history), config.plateau_epochs)
            peak = config.learning_rate * config.plateau_factor**found
            return learning_rate(min(done, config.warmup_fraction), peak, config.warmup_fraction)
        return learning_rate(done, config.learning_rate, config.warmup_fraction)

    def _train_epoch(self, epoch: int) -> float:
        progress, steps, rate = self.progress, self.learner.steps_per_epoch, self._learning_rate()
        if progress.step == 0:
            progress.loss_sum = progress.epoch_seconds = 0.0
        if self.freeze_encoder_epochs:
            self.learner.set_encoder_trainable(epoch > self.freeze_encoder_epochs)
        with progress_bar(f"epoch {epoch}/{self.config.epochs}", steps) as advance:
            advance(progress.step)
            for batch in self.learner.batches(epoch, progress.step):
                rate = self._learning_rate()
                loss = self.learner.step(batch, rate)
                done = self.learner.steps_done - progress.steps_before - progress.step
                if not math.isfinite(loss):
                    raise self._diverged(f"The loss became {loss} in epoch {epoch}, step {progress.step + done}")
                progress.step += done
                progress.loss_sum += loss * done
                advance(done)
                self.on_step()
                self._tick()
                if self._out_of_time():
                    break
                if self._clock - self._last_save > SAVE_EVERY_S:
                    self._save()
        return rate

    def _diverged(self, what: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"{what}. Lower training.learning_rate (now {self.config.learning_rate}), set "
            "training.gradient_clip_norm=1, or look for broken pixel values."
        )

    def _epoch(self) -> None:
        progress, epoch = self.progress, len(self.progress.history) + 1
        rate = self._train_epoch(epoch)
        measured = self.learner.validate()
        if not math.isfinite(measured.loss):
            raise self._diverged(f"The validation loss became {measured.loss} after epoch {epoch}")
        self._tick()
        mean = mean_metrics(measured.confusion)
        record = EpochRecord(
            epoch=epoch,
            epochs=self.config.epochs,
            loss=progress.loss_sum / max(progress.step, 1),
            val_loss=measured.loss,
            val_iou=mean.iou,
            val_dice=mean.dice,
            lr=rate,
            seconds=round(progress.epoch_seconds, 1),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            steps=progress.step,
            scores={"val_precision": mean.precision, "val_recall": mean.recall} | self._scores(measured.confusion),
        )
        self._keep(record)
        self._stopped = bool(self.on_epoch(record))
        # last, so that who sees the line knows the epoch is safe; a lost line is written again from the state
        self.folder.append_epoch(record)
        say(
            f"epoch {epoch}/{self.config.epochs} loss {record.loss:.3f} val loss {record.val_loss:.3f} "
            f"val IoU {record.val_iou:.3f} ({record.seconds:.0f} s)"
        )

    def _scores(self, confusion: NDArray[np.int64]) -> dict[str, float]:
        if len(self.classes) < 2:  # the mean says it already
            return {}
        of_each = zip(self.classes, class_metrics(confusion), strict=True)
        return {f"val_{name}_{score}": value for name, each in of_each for score, value in each._asdict().items()}

    def _keep(self, record: EpochRecord) -> None:
        progress = self.progress
        # one assignment: an interruption finds the epoch either in the history or not yet done
        progress.history = [*progress.history, record]
        progress.step = 0
        self._save()

    def _save(self) -> None:
        if self.folder.best_is_due(self.progress):
            self.folder.save_best(self.progress, self.learner.weights())
        self.folder.save(self.progress, self.learner.state())
        self._last_save = time.monotonic()
