"""One process's part of a training: the learner, its epochs, and what MLflow hears of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from satseg.config.settings import settings
from satseg.errors import SatsegError
from satseg.storage.devices import gpus
from satseg.tracking.open_run import Run
from satseg.training.loop import TrainingLoop
from satseg.training.plan import Plan
from satseg.training.replay import replay_weights
from satseg.training.reporting import EpochLog, log_last_good, log_outcome, log_profile
from satseg.training.run_folder import PROFILE_FOLDER, EpochRecord, Progress, RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from satseg.models.keras.learner import KerasLearner


@dataclass
class Session:
    """A training from where `progress` says to its end."""

    plan: Plan
    folder: RunFolder
    progress: Progress
    tracked: Run

    @cached_property
    def learner(self) -> "KerasLearner":
        """The network with its data; the first use loads TensorFlow."""
        return _learner(self.plan)

    def train(self, should_stop: Callable[[EpochRecord], bool], profile: bool) -> bool:
        """Train and log the model; returns whether `should_stop` ended it, which leaves no model.

        A failure leaves the best weights so far in MLflow as `last_good`.
        """
        learner = self.learner
        try:
            stopped = self._epochs(should_stop, profile)
        except Exception as error:
            if isinstance(error, SatsegError) and error.retry_helps:
                raise
            log_last_good(self.plan, learner, self.folder, self.progress, self.tracked)
            raise
        if stopped:
            self.tracked.set_tags({"satseg.pruned": "true"})
        else:
            log_outcome(self.plan, learner, self.folder, self.progress, self.tracked)
        return stopped

    def _epochs(self, should_stop: Callable[[EpochRecord], bool], profile: bool) -> bool:
        from satseg.models.keras.profiling import StepProfiler

        log = EpochLog(self.tracked, self.progress)
        profiler = StepProfiler(self.folder.path / PROFILE_FOLDER) if profile else None
        stopped = False

        def on_epoch(record: EpochRecord) -> bool:
            nonlocal stopped
            log.send()
            stopped = should_stop(record)
            return stopped

        loop = TrainingLoop(
            self.learner,
            self.plan.config,
            self.folder,
            self.progress,
            on_epoch,
            classes=self.plan.patch_set.classes,
            freeze_encoder_epochs=self.plan.freeze_encoder_epochs,
            on_step=profiler.step if profiler else lambda: None,
        )
        try:
            loop.run()
        finally:
            if profiler is not None:
                profiler.close()
        log.finish()
        if profiler is not None and profiler.folder.is_dir():
            log_profile(profiler.folder, self.tracked)
        return stopped


def _learner(plan: Plan) -> "KerasLearner":
    from satseg.models.keras.architectures import build_network, set_batch_norm_momentum
    from satseg.models.keras.devices import prepare_device
    from satseg.models.keras.learner import KerasLearner
    from satseg.models.keras.load import load_network
    from satseg.models.keras.runtime import keras

    prepare_device(_threads(plan.config.gpus), plan.config.repeatable_on_gpu)
    keras.utils.set_random_seed(plan.config.seed)
    description = plan.description()
    if plan.start is not None:
        network = load_network(plan.start.folder)
        set_batch_norm_momentum(network, plan.config.batch_norm_momentum)
    else:
        bands = len(description.bands)
        network = build_network(plan.config, bands, description.channels, description.mean, description.std)
    return KerasLearner(network, plan.patch_set, plan.config, draw_weights=_draw_weights(plan))


def _draw_weights(plan: Plan) -> "NDArray[np.int64] | None":
    if plan.new_share is None:
        return None
    return replay_weights(plan.patch_set.windows("train"), plan.new_scenes or (), plan.new_share)


def _threads(gpus_per_run: int) -> int | None:
    from satseg.models.threads import threads_per_run

    there = len(gpus())
    side_by_side = there // gpus_per_run if there else settings().cpu_slots
    return threads_per_run(side_by_side) if side_by_side > 1 else None
