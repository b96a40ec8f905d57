"""Following runs of the embedded Airflow to their end."""

import json
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satseg_airflow.demo.errors import DemoFailedError
from satseg_airflow.demo.screen import RunView, Screen, TaskView
from satseg_airflow.demo.training_log import TrainingLog
from satseg_airflow.embedded.airflow import EmbeddedAirflow

POLL_S = 1.5
APPEARS_WITHIN_S = 120.0
FINISHED = {"success", "failed"}
FAILED_TASK = {"failed", "upstream_failed"}
LOG_TAIL_LINES = 20


class Watch:
    """Shows every run of a project, and waits for the ones the demo is about."""

    def __init__(self, airflow: EmbeddedAirflow, project: str, screen: Screen, run_timeout_s: float) -> None:
        self.api = airflow.api()
        self._home = airflow.home
        self._prefix = f"{project}."
        self._screen = screen
        self._run_timeout_s = run_timeout_s
        self._views: dict[tuple[str, str], RunView] = {}
        self._training = TrainingLog(airflow.home.workspace.runs)

    def close(self) -> None:
        """Close the connection to Airflow."""
        self.api.close()

    def finish(self, dag_id: str, run_id: str) -> None:
        """Wait for a run to end well.

        Raises:
            DemoFailedError: it failed or took too long; the message holds task, log and what to do.
        """
        self.wait(
            lambda: self._state(dag_id, run_id) in FINISHED,
            self._run_timeout_s,
            lambda: f"Run {run_id} of {dag_id} did not end within {self._run_timeout_s:.0f} s. Is the machine busy?",
        )
        if self._state(dag_id, run_id) == "failed":
            raise DemoFailedError(self._why(dag_id, run_id))

    def finish_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait for a task of a run to end well; the run may go on.

        Raises:
            DemoFailedError: the run ended without it, or it took too long.
        """
        self.wait(
            lambda: self._state(dag_id, run_id) in FINISHED or self.task_state(dag_id, run_id, task_id) == "success",
            self._run_timeout_s,
            lambda: f"Task {task_id} of run {run_id} of {dag_id} did not end within {self._run_timeout_s:.0f} s.",
        )
        if self.task_state(dag_id, run_id, task_id) != "success":
            raise DemoFailedError(self._why(dag_id, run_id))

    def started(self, dag_id: str, run_id: str, to: str) -> str:
        """Wait for the run of DAG `to` that this run's asset event starts; returns its run id.

        Raises:
            DemoFailedError: none appears.
        """
        found: list[str] = []

        def appeared() -> bool:
            found.extend(run for dag, run in self.api.runs_started_by(dag_id, run_id) if dag == to)
            return bool(found)

        message = (
            f"{to} was not started by run {run_id} of {dag_id} within {APPEARS_WITHIN_S:.0f} s. "
            f"The scheduler's log is {self._home.logs / 'scheduler.log'}."
        )
        self.wait(appeared, APPEARS_WITHIN_S, lambda: message)
        return found[0]

    def settle(self, dag_id: str, not_before: float) -> None:
        """Wait until no run of a DAG is unfinished, at least to a time of the monotonic clock."""
        self.wait(
            lambda: (
                time.monotonic() > not_before
                and all(view.state in FINISHED for key, view in self._views.items() if key[0] == dag_id)
            ),
            self._run_timeout_s,
            lambda: f"Runs of {dag_id} do not end.",
        )

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the state of a task when last looked at ('none' for a task or run that is not there)."""
        view = self._views.get((dag_id, run_id))
        return next((task.state for task in view.tasks if task.task_id == task_id), "none") if view else "none"

    # --- polling ----------------------------------------------------------------------------------------------
    def wait(self, done: Callable[[], bool], seconds: float, message: Callable[[], str]) -> None:
        """Show progress until `done`.

        Raises:
            DemoFailedError: not within `seconds`; with `message`.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._poll()
            if done():
                return
            if time.monotonic() > deadline:
                raise DemoFailedError(message())
            time.sleep(POLL_S)

    def _poll(self) -> None:
        now = datetime.now(UTC)
        for run in self.api.runs():
            key = run["dag_id"], run["dag_run_id"]
            known = self._views.get(key)
            if not run["dag_id"].startswith(self._prefix) or (known and known.state in FINISHED):
                continue
            # tasks first, state later: a run that ended in between is read once more
            tasks = _task_views(self.api.tasks(*key), now) if run["state"] != "queued" else []
            self._views[key] = RunView(*key, run["state"], _seconds(run, now), tasks)
        views = list(self._views.values())
        trains = any(task.task_id == "train" and task.state == "running" for view in views for task in view.tasks)
        self._screen.show(views, self._training.latest() if trains else "")

    def _state(self, dag_id: str, run_id: str) -> str:
        view = self._views.get((dag_id, run_id))
        return view.state if view else "none"

    def _why(self, dag_id: str, run_id: str) -> str:
        lines = [f"Run {run_id} of {dag_id} failed."]
        for task in self.api.tasks(dag_id, run_id):
            if task["state"] == "failed":
                log = task_log(self._home.logs / "tasks", task)
                lines += [f"Task {task['task_id']} (try {task['try_number']}) says:", *_tail(log), f"Whole log: {log}"]
        lines.append(
            "What to do: mend what the last lines name, then run the demo again; or look at the run in Airflow's UI: "
            f"make up WORKSPACE={shlex.quote(str(self._home.workspace.root))}"
        )
        return "\n".join(lines)


def task_log(folder: Path, task: dict[str, Any]) -> Path:
    """Return the log file of a task instance's last try."""
    path = folder / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    if task["map_index"] >= 0:
        path /= f"map_index={task['map_index']}"
    return path / f"attempt={task['try_number']}.log"


def _tail(log: Path) -> list[str]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return [f"  (no log: {error})"]
    events = (_event(line) for line in lines)
    return [f"  {event}" for event in events if not event.startswith("::")][-LOG_TAIL_LINES:]


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line


def _seconds(thing: dict[str, Any], now: datetime) -> float:
    if not thing.get("start_date"):
        return 0.0
    end = datetime.fromisoformat(thing["end_date"]) if thing.get("end_date") else now
    return max(0.0, (end - datetime.fromisoformat(thing["start_date"])).total_seconds())


def _task_views(instances: list[dict[str, Any]], now: datetime) -> list[TaskView]:
    views: dict[str, TaskView] = {}
    for task in sorted(instances, key=lambda one: (one["start_date"] or "~", one["task_id"])):
        view = views.setdefault(task["task_id"], TaskView(task["task_id"], [], 0.0))
        view.states.append(task["state"] or "none")
        view.seconds = max(view.seconds, _seconds(task, now))
    return list(views.values())
