"""The tune stage: plan a search, run its trials one by one or side by side, choose the best."""

from pathlib import Path
from typing import Any

from satseg.config.project import content_id
from satseg.errors import BadDataError, ConfigurationError, LockHeldError, SatsegError
from satseg.patches.patchset import open_patch_set
from satseg.progress import say
from satseg.stages import TrainSpec, TuneResult, TuneSpec
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace
from satseg.tracking.open_run import created_run
from satseg.tracking.runs import find_runs
from satseg.training import train
from satseg.training.plan import make_plan
from satseg.training.run_folder import EpochRecord
from satseg.training.search_folder import PlannedSearch, SearchFolder
from satseg.training.search_report import report
from satseg.training.study import KILLED, Study, TrialRecord, searched_values, with_values
from satseg.training.trials import run_trials

SCHEMA_VERSION = 1
TRIAL_LOCK_TIMEOUT_S = 60.0


def run(spec: TuneSpec, workspace: Workspace) -> TuneResult:
    """Search hyper-parameters; what was done before is not done again, a killed trial goes on where it stopped.

    Raises:
        ConfigurationError: the project has no search space, or a step lacks --study or --trial.
        NotFoundError: no such patch set, model or study.
        BadDataError: no trial ended well.
        TemporaryError: MLflow does not answer, or the process was told to stop.
    """
    if spec.step == "plan":
        return _planned(_plan(spec, workspace))
    if spec.step == "all":
        search = _plan(spec, workspace)
        run_trials(workspace, search)
        return _best(workspace, search)
    if spec.study is None:
        raise ConfigurationError(f"--step {spec.step} needs --study ID; `satseg tune --step plan` gives it.")
    search = SearchFolder(workspace, spec.project.name, spec.study).read()
    if spec.step == "best":
        return _best(workspace, search)
    if spec.trial is None or spec.trial >= search.trials:
        raise ConfigurationError(f"--step trial needs --trial N, 0 … {search.trials - 1}, not {spec.trial}.")
    return _trial(workspace, search, spec.trial)


# --- plan -----------------------------------------------------------------------------------------------------


def _plan(spec: TuneSpec, workspace: Workspace) -> PlannedSearch:
    project = spec.project
    if not project.search.space:
        raise ConfigurationError(
            f"Project '{project.name}' has no search space. Add one, for example `search: {{space: "
            "{training.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}`, or train with `satseg train`."
        )
    network = [key for key in ("training.architecture", "training.backbone") if key in project.search.space]
    if spec.init_from and network:
        raise ConfigurationError(
            f"A search that starts from a model keeps its network: take {' and '.join(network)} out of search.space, "
            "or search without --init-from."
        )
    patch_set = open_patch_set(workspace, project.name, spec.patch_set)
    first = TrainSpec(project=project, patch_set=patch_set.id, init_from=spec.init_from)
    plan = make_plan(first, workspace)  # refuses now what every trial would be refused for
    search = project.search.model_dump(mode="json", exclude={"trials"})
    study = content_id(SCHEMA_VERSION, plan.run_key, project.training, project.retraining, search)
    folder = SearchFolder(workspace, project.name, study)
    with exclusive(workspace.lock(f"plan-{study}"), f"Study {study}"):
        trials = spec.trials or project.search.trials
        planned = PlannedSearch(
            study=study,
            project=project,
            patch_set=patch_set.id,
            init_from=train.pinned(plan).init_from,
            trials=trials,
            parent_run=_parent_run(workspace, project.name, study, plan.tags()),
        )
        folder.write(planned)
        Study(workspace, project.name, study, project.search)
    say(f"study {study}: {trials} trials of {', '.join(project.search.space)}, MLflow run {planned.parent_run}")
    return planned


def _parent_run(workspace: Workspace, project: str, study: str, tags: dict[str, str]) -> str:
    known = find_runs(workspace, project, {"satseg.stage": "tune", "satseg.study": study})
    if known:
        return known[0].id
    about = {name: value for name, value in tags.items() if name not in {"satseg.run_key", "satseg.init_from"}}
    tags = about | {"satseg.stage": "tune", "satseg.study": study}
    return created_run(workspace, project, name=f"tune-{study[:6]}", tags=tags)


def _planned(search: PlannedSearch) -> TuneResult:
    return TuneResult(
        message=f"Study {search.study} has {search.trials} trials to run.",
        study=search.study,
        patch_set=search.patch_set,
        parent_run=search.parent_run,
        trials=search.trials,
    )


# --- trial ----------------------------------------------------------------------------------------------------


def _trial(workspace: Workspace, search: PlannedSearch, place: int) -> TuneResult:
    study = _study(workspace, search)
    with exclusive(_trial_lock(workspace, search, place), f"Trial {place} of {search.study}", TRIAL_LOCK_TIMEOUT_S):
        record = study.record(place)
        if record is None or record.to_run:
            _train(workspace, search, study, place)
            record = study.record(place)
            assert record is not None
    return _trial_result(search, record)


def _train(workspace: Workspace, search: PlannedSearch, study: Study, place: int) -> None:
    trial, values = study.begin(place, searched_values(search.project))
    say(f"trial {place}: {_told(values)}")
    spec = TrainSpec(
        project=with_values(search.project, values),
        patch_set=search.patch_set,
        init_from=search.init_from,
        trial=f"{search.study}/{place}",
        parent_run=search.parent_run,
    )

    def hopeless(record: EpochRecord) -> bool:
        trial.report(record.val_iou, record.epoch)
        return trial.should_prune()

    try:
        done = train.run(spec, workspace, should_stop=hopeless)
    except SatsegError as error:
        if error.retry_helps:
            raise
        # a learning rate that diverges or a batch that is too large is a result of the search, not its end
        say(f"trial {place} failed: {error}")
        study.end(place, "failed", reason=str(error))
        return
    study.end(place, "pruned" if done.pruned else "complete", val_iou=done.val_iou, run_id=done.run_id)


def _trial_result(search: PlannedSearch, record: TrialRecord) -> TuneResult:
    assert record.state != "running"
    how = {"complete": "ended", "pruned": "was stopped early", "failed": "failed"}[record.state]
    score = f" with val IoU {record.val_iou:.3f}" if record.val_iou is not None else f": {record.reason}"
    return TuneResult(
        message=f"Trial {record.place} ({_told(record.values)}) {how}{score}.",
        study=search.study,
        patch_set=search.patch_set,
        parent_run=search.parent_run,
        trials=search.trials,
        trial=record.place,
        state=record.state,
        run_id=record.run_id,
        val_iou=record.val_iou,
        parameters=record.values,
    )


# --- best -----------------------------------------------------------------------------------------------------


def _best(workspace: Workspace, search: PlannedSearch) -> TuneResult:
    study = _study(workspace, search)
    warnings = _close_dead_trials(workspace, search, study)
    records = [record for place in range(search.trials) if (record := study.record(place)) is not None]
    complete = [record for record in records if record.state == "complete" and record.val_iou is not None]
    if not complete:
        reasons = "; ".join(f"trial {record.place}: {record.reason or record.state}" for record in records)
        raise BadDataError(
            f"No trial of study {search.study} ended well ({reasons or 'none was run'}). "
            "Mend that, or narrow search.space, and search again."
        )
    best = max(complete, key=lambda record: (record.val_iou or 0.0, -record.place))
    report(workspace, search, records, best)
    states = {state: sum(record.state == state for record in records) for state in ("complete", "pruned", "failed")}
    ended = ", ".join(f"{count} {state}" for state, count in states.items())
    result = _trial_result(search, best)
    told = f"Best of {len(records)} trials ({ended}): {result.message} `satseg evaluate {best.run_id}` measures it."
    return result.model_copy(update={"message": told, "states": states, "warnings": warnings})


def _close_dead_trials(workspace: Workspace, search: PlannedSearch, study: Study) -> list[str]:
    """Mark trials whose process died for good, so that nothing waits for them."""
    warnings = []
    for place in range(search.trials):
        record = study.record(place)
        if record is None:
            warnings.append(f"trial {place} was not run")
        elif record.state == "running":
            try:
                with exclusive(_trial_lock(workspace, search, place), f"Trial {place}", timeout_s=0):
                    study.end(place, "failed", reason=KILLED)
                warnings.append(f"trial {place} was killed and not run again")
            except LockHeldError:
                warnings.append(f"trial {place} is still running and was left out")
    return warnings


def _study(workspace: Workspace, search: PlannedSearch) -> Study:
    return Study(workspace, search.project.name, search.study, search.project.search)


def _trial_lock(workspace: Workspace, search: PlannedSearch, place: int) -> Path:
    return workspace.lock(f"trial-{search.study}-{place}")


def _told(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key.rpartition('.')[2]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in values.items()
    )
