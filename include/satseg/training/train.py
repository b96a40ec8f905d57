"""The train stage: one tracked, resumable training run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from satseg.config.project import content_id
from satseg.config.training import TrainingConfig
from satseg.errors import NotFoundError
from satseg.models.backbones import check_backbone
from satseg.models.interface import ModelDescription
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.progress import say
from satseg.stages import TrainResult, TrainSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace
from satseg.tracking.code_version import code_version
from satseg.tracking.runs import Run, close_abandoned_run, get_run, tracked_run
from satseg.training.loop import TrainingLoop
from satseg.training.pictures import draw_learning_curve, draw_samples, sample_windows
from satseg.training.run_folder import EpochRecord, Progress, RunFolder
from satseg.training.start import StartingModel, effective_training, starting_model

if TYPE_CHECKING:
    from satseg.models.keras.learner import KerasLearner

SCHEMA_VERSION = 1
LOCK_TIMEOUT_S = 60.0
EXAMPLE_PX = 64


@dataclass(frozen=True)
class Plan:
    """All that decides what a training gives."""

    spec: TrainSpec
    patch_set: PatchSet
    config: TrainingConfig
    start: StartingModel | None

    @property
    def run_key(self) -> str:
        """Content id of the training."""
        weights = self.config.encoder_weights
        file = Path(weights) if weights else None
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else None
        start = self.start.ref.run_id if self.start else None
        return content_id(SCHEMA_VERSION, self.patch_set.id, self.config, list(self.patch_set.classes), start, digest)

    def description(self) -> ModelDescription:
        """Describe the model to be; one that goes on from another keeps that one's normalisation."""
        patch_set = self.patch_set
        given = self.start.description if self.start else patch_set.statistics
        return ModelDescription(
            project=self.spec.project.name,
            architecture=self.config.architecture,
            backbone=self.config.backbone,
            bands=patch_set.bands,
            dtype=patch_set.dtype,
            classes=patch_set.classes,
            patch_px=patch_set.size_px,
            gsd_m=patch_set.gsd_m,
            mean=given.mean,
            std=tuple(deviation or 1.0 for deviation in given.std),  # a constant band has no spread to divide by
            dataset_version=patch_set.dataset_version,
            patch_set=patch_set.id,
        )

    def params(self) -> dict[str, Any]:
        """Return what MLflow shows as parameters."""
        patch_set = self.patch_set
        return self.config.model_dump(mode="json") | {
            "patch_px": patch_set.size_px,
            "bands": list(patch_set.bands),
            "classes": list(patch_set.classes),
            "dataset_version": patch_set.dataset_version,
            "patch_set": patch_set.id,
            "init_from": self.start.ref.run_id if self.start else None,
        }

    def tags(self) -> dict[str, str]:
        """Return the tags that lineage follows."""
        code = code_version()
        return {
            "satseg.stage": "train",
            "satseg.project": self.spec.project.name,
            "satseg.dataset_version": self.patch_set.dataset_version,
            "satseg.patch_set": self.patch_set.id,
            "satseg.git_commit": code.commit,
            "satseg.git_dirty": str(code.dirty).lower(),
            "satseg.run_key": self.run_key,
            "satseg.init_from": self.start.ref.run_id if self.start else "",
        }


def run(spec: TrainSpec, workspace: Workspace) -> TrainResult:
    """Train one model; the same training done before gives the earlier result, an interrupted one goes on.

    Raises:
        NotFoundError: no such patch set or starting model.
        ConfigurationError: unknown backbone, a starting model that does not fit, or not enough memory.
        TrainingDivergedError: the loss became NaN.
        TemporaryError: MLflow does not answer, the same training runs already, or the process was told to stop.
    """
    check_backbone(spec.project.training.backbone)
    patch_set = open_patch_set(workspace, spec.project.name, spec.patch_set)
    config = effective_training(spec.project, spec.init_from is not None)
    start = starting_model(workspace, spec.project, patch_set, spec.init_from) if spec.init_from else None
    plan = Plan(spec, patch_set, config, start)
    key = plan.run_key
    with exclusive(workspace.lock(f"train-{key}"), f"Training {key}", LOCK_TIMEOUT_S):
        folder = RunFolder(workspace.run(key))
        if spec.force:
            _abandon(workspace, folder)
        elif (earlier := _earlier(workspace, folder)) is not None:
            return earlier
        return _train(plan, workspace, folder)


def _abandon(workspace: Workspace, folder: RunFolder) -> None:
    unfinished = folder.open().mlflow_run_id
    if unfinished is not None:
        close_abandoned_run(workspace, unfinished)
    folder.clear()


def _earlier(workspace: Workspace, folder: RunFolder) -> TrainResult | None:
    result = folder.result()
    if result is None:
        return None
    try:
        get_run(workspace, result.run_id)
    except NotFoundError:
        folder.clear()
        return None
    return result.model_copy(
        update={"message": f"Nothing to do: the same training was done as run {result.run_id} (--force trains again)."}
    )


def _resumable(workspace: Workspace, folder: RunFolder) -> Progress:
    progress = folder.open()
    if progress.mlflow_run_id is not None:
        try:
            get_run(workspace, progress.mlflow_run_id)
        except NotFoundError:
            say(f"MLflow run {progress.mlflow_run_id} was deleted; starting a new one.")
            progress.mlflow_run_id = None
    return progress


def _learner(plan: Plan) -> "KerasLearner":
    from satseg.models.keras.architectures import build_network, set_batch_norm_momentum
    from satseg.models.keras.learner import KerasLearner
    from satseg.models.keras.load import load_network
    from satseg.models.keras.runtime import keras

    keras.utils.set_random_seed(plan.config.seed)
    description = plan.description()
    if plan.start is not None:
        network = load_network(plan.start.folder)
        set_batch_norm_momentum(network, plan.config.batch_norm_momentum)
    else:
        bands = len(description.bands)
        network = build_network(plan.config, bands, description.channels, description.mean, description.std)
    return KerasLearner(network, plan.patch_set, plan.config)


def _train(plan: Plan, workspace: Workspace, folder: RunFolder) -> TrainResult:
    progress = _resumable(workspace, folder)
    resumed = progress.mlflow_run_id is not None
    name = f"{plan.config.architecture}-{plan.config.backbone}-{plan.run_key[:6]}"
    with tracked_run(
        workspace,
        plan.spec.project.name,
        name=name,
        tags=plan.tags() | (_resumed_tags(progress) if resumed else {}),
        params=plan.params(),
        run_id=progress.mlflow_run_id,
    ) as tracked:
        progress.mlflow_run_id = tracked.id
        folder.save(progress)
        _say_start(plan, tracked.id, progress, resumed)
        learner = _learner(plan)

        def log_epoch(record: EpochRecord) -> None:
            numbers = record.model_dump(include={"loss", "val_loss", "val_iou", "val_dice", "lr", "seconds"})
            tracked.log_metrics(
                {"epoch_seconds" if key == "seconds" else key: value for key, value in numbers.items()}, record.epoch
            )

        TrainingLoop(learner, plan.config, folder, progress, log_epoch).run()
        _log_model(plan, learner, folder, progress, tracked)
    return _finish(plan, folder, progress, tracked.id, resumed)


def _resumed_tags(progress: Progress) -> dict[str, str]:
    return {
        "satseg.resumed": "true",
        "satseg.resumed_after": f"epoch {len(progress.history)}, step {progress.step}; the process before was ended",
    }


def _say_start(plan: Plan, run_id: str, progress: Progress, resumed: bool) -> None:
    windows = {split: len(plan.patch_set.windows(split)) for split in ("train", "val")}
    say(
        f"{plan.config.architecture} / {plan.config.backbone} on patch set {plan.patch_set.id} "
        f"({windows['train']} train, {windows['val']} val windows), MLflow run {run_id}"
    )
    if resumed:
        say(f"going on after epoch {len(progress.history)}, step {progress.step}")


def _log_model(plan: Plan, learner: "KerasLearner", folder: RunFolder, progress: Progress, tracked: Run) -> None:
    best = progress.best_epoch
    assert best is not None
    assert progress.best is not None
    learner.set_weights(folder.arrays(progress.best))
    description = plan.description()
    model = folder.path / "model"
    model.mkdir(exist_ok=True)
    learner.save(model, description)
    pictures = {"learning_curve.png": "", "samples.png": ""}
    draw_learning_curve(progress.history, model / "learning_curve.png")
    draw_samples(learner.segmenter(description), plan.patch_set, model / "samples.png")
    for name, artifact_folder in pictures.items():
        tracked.log_file(model / name, artifact_folder)
    tracked.log_text(yaml.safe_dump(plan.spec.project.model_dump(mode="json"), sort_keys=False), "project.yaml")
    tracked.log_metrics({"best_epoch": best.epoch, "best_val_iou": best.val_iou}, best.epoch)
    example = sample_windows(plan.patch_set, 1)[0][0][:EXAMPLE_PX, :EXAMPLE_PX]
    tracked.log_model_files(model, description.model_dump(mode="json"), example[None])


def _finish(plan: Plan, folder: RunFolder, progress: Progress, run_id: str, resumed: bool) -> TrainResult:
    best = progress.best_epoch
    assert best is not None
    epochs = len(progress.history)
    result = TrainResult(
        message=f"Trained {epochs} epochs as run {run_id}; best is epoch {best.epoch} with val IoU {best.val_iou:.3f}.",
        run_id=run_id,
        patch_set=plan.patch_set.id,
        epochs=epochs,
        best_epoch=best.epoch,
        val_iou=best.val_iou,
        resumed=resumed,
    )
    folder.finish(result)
    return result
