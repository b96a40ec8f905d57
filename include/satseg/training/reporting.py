"""What a training tells MLflow: what it is made of, its epochs, its model, and what is left when it fails."""

import platform
import time
from contextlib import suppress
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from satseg.errors import InterruptedRunError, TemporaryError
from satseg.progress import say
from satseg.tracking.open_run import Run
from satseg.tracking.patience import patiently
from satseg.training.pictures import draw_learning_curve, draw_samples, sample_windows
from satseg.training.plan import Plan
from satseg.training.run_folder import MODEL_FOLDER, EpochRecord, Progress, RunFolder

if TYPE_CHECKING:
    from satseg.models.keras.learner import KerasLearner

EXAMPLE_PX = 64
LAST_GOOD = "last_good"
_PLAIN = ("loss", "val_loss", "val_iou", "val_dice", "lr")


def log_origin(plan: Plan, tracked: Run) -> None:
    """Log the project as it was resolved, and the versions of Python and all packages."""
    project = yaml.safe_dump(plan.spec.project.model_dump(mode="json"), sort_keys=False)
    packages = sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower)
    about = [f"# Python {platform.python_version()} on {platform.platform()}", *packages]
    patiently(lambda: tracked.log_text(project, "project.yaml"))
    patiently(lambda: tracked.log_text("\n".join(about) + "\n", "packages.txt"))


class EpochLog:
    """Sends epochs to MLflow as they end; while it does not answer they wait in the run's state."""

    def __init__(self, tracked: Run, progress: Progress) -> None:
        self._tracked = tracked
        self._progress = progress
        self._not_before = 0.0

    def send(self) -> None:
        """Send what is waiting; a silent MLflow is asked again after a later epoch.

        A server that lets its callers wait costs at most a sixth of the time.
        """
        start = time.monotonic()
        if start < self._not_before:
            return
        try:
            self._send()
        except InterruptedRunError:
            raise
        except TemporaryError as error:
            now = time.monotonic()
            self._not_before = now + 5 * (now - start)
            waiting = len(self._progress.history) - self._progress.logged
            say(f"{error} Training goes on; {waiting} epochs wait to be logged.")

    def finish(self) -> None:
        """Send all, patiently.

        Raises:
            TemporaryError: MLflow still does not answer; nothing is lost, the same command sends it.
        """
        patiently(self._send)

    def _send(self) -> None:
        for record in self._progress.history[self._progress.logged :]:
            # with the time of the epoch: a killed process may have sent it already
            self._tracked.log_metrics(_metrics(record), record.epoch, datetime.fromisoformat(record.time))
            self._progress.logged = record.epoch


def _metrics(record: EpochRecord) -> dict[str, float]:
    return record.model_dump(include=set(_PLAIN)) | {"epoch_seconds": record.seconds} | record.scores


def log_outcome(plan: Plan, learner: "KerasLearner", folder: RunFolder, progress: Progress, tracked: Run) -> None:
    """Log the best epoch's model with pictures of what it learnt."""
    best = progress.best_epoch
    assert best is not None
    model = _save_best(plan, learner, folder, progress)
    draw_learning_curve(progress.history, model / "learning_curve.png")
    draw_samples(learner.segmenter(plan.description()), plan.patch_set, model / "samples.png")
    example = sample_windows(plan.patch_set, 1)[0][0][:EXAMPLE_PX, :EXAMPLE_PX]

    def send() -> None:
        for name in ("learning_curve.png", "samples.png"):
            tracked.log_file(model / name)
        found = {"best_epoch": best.epoch, "best_val_iou": best.val_iou}
        tracked.log_metrics(found, best.epoch, datetime.fromisoformat(best.time))
        tracked.log_model_files(model, plan.description().model_dump(mode="json"), example[None])

    patiently(send)


def log_last_good(plan: Plan, learner: "KerasLearner", folder: RunFolder, progress: Progress, tracked: Run) -> None:
    """Log the weights of the best epoch of a training that failed, where there was one; never an error of its own."""
    if progress.best is None:
        return
    with suppress(Exception):  # the failure itself is what has to be reported
        model = _save_best(plan, learner, folder, progress)
        for path in sorted(model.iterdir()):
            tracked.log_file(path, LAST_GOOD)
        tracked.set_tags({"satseg.last_good_epoch": str(progress.best_epoch.epoch if progress.best_epoch else "")})


def log_profile(trace: Path, tracked: Run) -> None:
    """Log a TensorBoard profile: `tensorboard --logdir` on the artifact folder shows it."""
    patiently(lambda: tracked.log_folder(trace, "profile"))


def _save_best(plan: Plan, learner: "KerasLearner", folder: RunFolder, progress: Progress) -> Path:
    assert progress.best is not None
    learner.set_weights(folder.arrays(progress.best))
    model = folder.path / MODEL_FOLDER
    model.mkdir(exist_ok=True)
    learner.save(model, plan.description())
    return model
