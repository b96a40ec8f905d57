"""The train stage: one tracked, resumable training run."""

from collections.abc import Callable

from satseg.config.settings import settings
from satseg.errors import NotFoundError, SatsegError
from satseg.progress import say
from satseg.stages import TrainResult, TrainSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace
from satseg.tracking.runs import close_abandoned_run, get_run, tracked_run
from satseg.training.interrupted import training_lock
from satseg.training.plan import Plan, make_plan
from satseg.training.reporting import log_origin
from satseg.training.run_folder import EpochRecord, Progress, RunFolder
from satseg.training.session import Session

LOCK_TIMEOUT_S = 60.0


def run(
    spec: TrainSpec,
    workspace: Workspace,
    *,
    profile: bool = False,
    should_stop: Callable[[EpochRecord], bool] = lambda record: False,
) -> TrainResult:
    """Train one model; the same training done before gives the earlier result, an interrupted one goes on.

    Args:
        spec: what to train.
        workspace: holds patch sets, runs and the embedded MLflow.
        profile: log a TensorBoard profile of ten steps.
        should_stop: asked after each epoch; a search ends a hopeless trial so, which then leaves no model.

    Raises:
        NotFoundError: no such patch set or starting model.
        ConfigurationError: unknown backbone, a patch set or starting model that does not fit, or not enough memory.
        BadDataError: an empty split, damaged shards.
        TrainingDivergedError: the loss became NaN.
        TemporaryError: MLflow does not answer, the same training runs already, no space is left, or the process was
            told to stop.
    """
    plan = make_plan(spec, workspace)
    key = plan.run_key
    with exclusive(training_lock(workspace, key), f"Training {key}", LOCK_TIMEOUT_S):
        folder = RunFolder(workspace.run(key))
        if spec.force:
            _abandon(workspace, folder)
        elif (earlier := _earlier(workspace, folder)) is not None:
            return earlier
        return _train(plan, workspace, folder, should_stop, profile)


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


def _train(
    plan: Plan, workspace: Workspace, folder: RunFolder, should_stop: Callable[[EpochRecord], bool], profile: bool
) -> TrainResult:
    progress = _resumable(workspace, folder)
    resumed = progress.mlflow_run_id is not None
    with tracked_run(
        workspace,
        plan.spec.project.name,
        name=plan.name,
        tags=plan.tags() | (_resumed_tags(progress) if resumed else {}),
        params=plan.params(),
        run_id=progress.mlflow_run_id,
        patience_s=60.0 * settings().mlflow_patience_minutes,
    ) as tracked:
        progress.mlflow_run_id, progress.failed = tracked.id, None
        folder.keep_spec(pinned(plan))
        folder.save(progress)
        log_origin(plan, tracked)
        _say_start(plan, tracked.id, progress, resumed)
        try:
            pruned = Session(plan, folder, progress, tracked).train(should_stop, profile)
        except SatsegError as error:
            if not error.retry_helps:
                folder.mark_failed(str(error))
            raise
    return _finish(plan, folder, progress, tracked.id, resumed=resumed, pruned=pruned)


def pinned(plan: Plan) -> TrainSpec:
    """Return the spec with names that may point elsewhere later (newest, champion) replaced by ids."""
    start = plan.start
    registered = start is not None and not start.origin.startswith("file:")
    origin = start.origin if start and registered else (str(start.folder) if start else None)
    return plan.spec.model_copy(update={"patch_set": plan.patch_set.id, "init_from": origin, "force": False})


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
    if plan.start is not None:
        frozen = f", encoder frozen for {plan.freeze_encoder_epochs} epochs" if plan.freeze_encoder_epochs else ""
        say(
            f"starting from {plan.start.label} with its network: {plan.config.epochs} epochs and learning rate "
            f"{plan.config.learning_rate:g} of the project's `retraining` section{frozen}"
        )
    if plan.new_share is not None:
        say(
            f"{len(plan.new_scenes or ())} scenes are new to it: {plan.new_share:.0%} of the draws; the rest replays "
            "old ones"
        )
    if resumed:
        say(f"going on after epoch {len(progress.history)}, step {progress.step}")


def _finish(
    plan: Plan, folder: RunFolder, progress: Progress, run_id: str, *, resumed: bool, pruned: bool
) -> TrainResult:
    best = progress.best_epoch
    assert best is not None
    epochs = len(progress.history)
    ended = "Stopped early after" if pruned else "Trained"
    result = TrainResult(
        message=f"{ended} {epochs} epochs as run {run_id}; best is epoch {best.epoch} with val IoU {best.val_iou:.3f}.",
        run_id=run_id,
        patch_set=plan.patch_set.id,
        epochs=epochs,
        best_epoch=best.epoch,
        val_iou=best.val_iou,
        resumed=resumed,
        pruned=pruned,
    )
    folder.finish(result)
    return result
