"""A search as Optuna sees it: trials with their parameters, in a database in the workspace.

Each trial has a place (0, 1, …), so that a task that is tried again goes on with its own trial.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from satseg.config.project import ProjectConfig
from satseg.config.search import ParameterRange, SearchConfig, value_at, with_value
from satseg.storage.atomic import exclusive
from satseg.storage.layout import Workspace

if TYPE_CHECKING:
    import optuna

Values = dict[str, Any]
State = Literal["running", "complete", "pruned", "failed"]
_PLACE, _RUN, _REASON = "place", "run_id", "reason"
_WAIT_S = 60.0
KILLED = "its process was killed and it was not run again"


@dataclass(frozen=True)
class TrialRecord:
    """A trial as it stands."""

    place: int
    state: State
    values: Values
    val_iou: float | None
    run_id: str | None
    reason: str

    @property
    def to_run(self) -> bool:
        """Whether its process was ended before it was."""
        return self.state == "running" or self.reason == KILLED


def searched_values(project: ProjectConfig) -> Values:
    """Return what the project itself says for the keys of its search space, where that lies within it."""
    values = {}
    for key, range_ in project.search.space.items():
        value = value_at(project, key.split("."))
        if range_.holds(value):
            values[key] = value
    return values


def with_values(project: ProjectConfig, values: Mapping[str, Any]) -> ProjectConfig:
    """Return the project with other values of some keys."""
    for key, value in values.items():
        project = with_value(project, key.split("."), value)
    return project


class Study:
    """The trials of one search; safe to use from several processes."""

    def __init__(self, workspace: Workspace, project: str, study: str, search: SearchConfig) -> None:
        """Open the search, or make it."""
        self._lock = workspace.lock(f"study-{study}")
        self._search = search
        self._name = study
        with exclusive(self._lock, f"Study {study}"):
            self._study = self._open(workspace, project)

    def _open(self, workspace: Workspace, project: str) -> "optuna.Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = workspace.studies(project)
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(workspace.lock(f"studies-{project}"), "The database of searches"):
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / 'optuna.db'}", engine_kwargs={"connect_args": {"timeout": _WAIT_S}}
            )
            search = self._search
            pruner = optuna.pruners.MedianPruner(
                n_startup_trials=search.startup_trials, n_warmup_steps=search.prune_after_epochs
            )
            return optuna.create_study(
                storage=storage,
                study_name=self._name,
                direction="maximize",
                pruner=pruner if search.prune else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )

    def begin(self, place: int, first: Values) -> tuple["optuna.Trial", Values]:
        """Return the trial of a place and its values: a new one, or the one a killed process left.

        Args:
            place: of the trial in the search.
            first: values of the trial at place 0.
        """
        import optuna

        with exclusive(self._lock, f"Study {self._name}"):
            left = self._at(place)
            if left is not None and not left.state.is_finished():
                trial = optuna.Trial(self._study, left._trial_id)
            else:
                # each process would draw the same numbers from the same seed
                self._study.sampler = optuna.samplers.TPESampler(
                    seed=1000 * self._search.seed + place,
                    n_startup_trials=self._search.startup_trials,
                    constant_liar=True,  # trials under way count as bad, so that several at once differ
                )
                if place == 0:
                    self._study.enqueue_trial({key: _encoded(self._search.space[key], first[key]) for key in first})
                trial = self._study.ask()
                trial.set_user_attr(_PLACE, place)
            return trial, {key: _suggested(trial, key, range_) for key, range_ in self._search.space.items()}

    def _at(self, place: int) -> "optuna.trial.FrozenTrial | None":
        found = [trial for trial in self._study.get_trials(deepcopy=False) if trial.user_attrs.get(_PLACE) == place]
        return found[-1] if found else None

    def record(self, place: int) -> TrialRecord | None:
        """Return the trial of a place as it stands; None before it began."""
        trial = self._at(place)
        if trial is None:
            return None
        state: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        return TrialRecord(
            place=place,
            state=state.get(trial.state.name, "running"),
            values={key: _decoded(self._search.space[key], value) for key, value in trial.params.items()},
            val_iou=trial.user_attrs.get("val_iou"),
            run_id=trial.user_attrs.get(_RUN),
            reason=trial.user_attrs.get(_REASON, ""),
        )

    def end(
        self, place: int, state: State, *, val_iou: float | None = None, run_id: str = "", reason: str = ""
    ) -> None:
        """Write down how a trial ended; the attributes first, because an ended trial takes no more."""
        import optuna

        trial = self._at(place)
        assert trial is not None
        running = optuna.Trial(self._study, trial._trial_id)
        for name, value in ((_RUN, run_id), (_REASON, reason), ("val_iou", val_iou)):
            if value not in {"", None}:
                running.set_user_attr(name, value)
        states = optuna.trial.TrialState
        told = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]
        self._study.tell(trial.number, val_iou if state == "complete" else None, state=told, skip_if_finished=True)


def _suggested(trial: "optuna.Trial", key: str, range_: ParameterRange) -> Any:
    if range_.choices is not None:
        return _decoded(range_, trial.suggest_categorical(key, [json.dumps(choice) for choice in range_.choices]))
    assert range_.low is not None
    assert range_.high is not None
    if range_.integer:
        return trial.suggest_int(key, int(range_.low), int(range_.high), log=range_.log)
    return trial.suggest_float(key, range_.low, range_.high, log=range_.log)


def _encoded(range_: ParameterRange, value: Any) -> Any:
    return value if range_.choices is None else json.dumps(value)


def _decoded(range_: ParameterRange, value: Any) -> Any:
    return value if range_.choices is None else json.loads(value)
