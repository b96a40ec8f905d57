"""Live progress of the demo: a table on a terminal, a line per change elsewhere."""

import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

COLOURS = {"success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan", "skipped": "magenta"}
ROWS_ON_SCREEN = 12


@dataclass
class TaskView:
    """All instances of one task in one run."""

    task_id: str
    states: list[str]
    seconds: float

    @property
    def state(self) -> str:
        """The state that says most: anything failed, then anything unfinished, otherwise the common one."""
        for state in ("failed", "upstream_failed", "up_for_retry", "running", "queued", "scheduled", "none"):
            if state in self.states:
                return state
        return "success" if "success" in self.states else Counter(self.states).most_common(1)[0][0]

    def __str__(self) -> str:
        if self.state == "none":
            return self.task_id
        done = sum(state in {"success", "skipped"} for state in self.states)
        many = f" {done}/{len(self.states)}" if len(self.states) > 1 else ""
        return f"{self.task_id}{many} {self.state} {self.seconds:.0f} s"


@dataclass
class RunView:
    """One DAG run."""

    dag_id: str
    run_id: str
    state: str
    seconds: float
    tasks: list[TaskView] = field(default_factory=list)


class Screen(Protocol):
    """Where progress goes."""

    def live(self) -> AbstractContextManager[Any]:
        """Return the block during which progress is shown."""
        ...

    def say(self, text: str) -> None:
        """Tell a new step or an event."""
        ...

    def show(self, runs: list[RunView], training: str) -> None:
        """Show the state of all runs, and of the training that is going on ('' for none)."""
        ...


def screen_for(console: Console) -> Screen:
    """Return the live table for a terminal, lines for anything else."""
    return LiveScreen(console) if console.is_terminal else LineScreen()


class LineScreen:
    """One line per change of state, with the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._seen: dict[tuple[str, ...], str] = {}
        self._training = ""

    def live(self) -> AbstractContextManager[Any]:
        """See `Screen.live`."""
        return nullcontext()

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        print(f"[{time.monotonic() - self._start:4.0f} s] {text}", file=sys.stderr, flush=True)

    def show(self, runs: list[RunView], training: str) -> None:
        """See `Screen.show`."""
        for run in runs:
            for task in run.tasks:
                if self._changed((run.dag_id, run.run_id, task.task_id), task.state) and task.state != "none":
                    self.say(f"{run.dag_id} · {task}")
            if self._changed((run.dag_id, run.run_id), run.state):
                self.say(f"{run.dag_id} ({run.run_id}) {run.state} {run.seconds:.0f} s")
        if training and training != self._training:
            self._training = training
            self.say(training)

    def _changed(self, key: tuple[str, ...], state: str) -> bool:
        before = self._seen.get(key)
        self._seen[key] = state
        return before != state


class LiveScreen:
    """A table that is drawn anew; what `say` tells stays above it."""

    def __init__(self, console: Console) -> None:
        self._start = time.monotonic()
        self._live = Live(console=console, refresh_per_second=2, transient=True)

    def live(self) -> AbstractContextManager[Any]:
        """See `Screen.live`."""
        return self._live

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        self._live.console.print(f"[dim]{time.monotonic() - self._start:4.0f} s[/] [bold]{text}[/]", highlight=False)

    def show(self, runs: list[RunView], training: str) -> None:
        """See `Screen.show`."""
        table = Table("run", "state", "elapsed", "tasks", title="Airflow", expand=True)
        for run in runs[-ROWS_ON_SCREEN:]:
            tasks = Text(" · ").join(Text(str(task), COLOURS.get(task.state, "dim")) for task in run.tasks)
            state = Text(run.state, COLOURS.get(run.state, "dim"))
            table.add_row(f"{run.dag_id}\n[dim]{run.run_id}[/]", state, f"{run.seconds:.0f} s", tasks)
        elapsed = Text(f"{time.monotonic() - self._start:.0f} s since the start", "dim")
        self._live.update(Group(table, Text(training, "cyan"), elapsed))
