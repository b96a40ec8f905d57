"""What a demo does: which scenes, which training, which nights."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from satseg.config.settings import settings
from satseg.errors import ConfigurationError
from satseg.storage.layout import Workspace

FIRST, QUIET, DRIFTED = "first", "quiet", "drifted"
SYNTHETIC_EPOCHS = 6  # made-up towns are learnt sooner than real ones
ARRIVALS = (FIRST, QUIET, DRIFTED)


@dataclass(frozen=True)
class Arrival:
    """Scenes that arrive together.

    Attributes:
        name: Part of the run ids.
        folder: Where they are.
        make: Arguments of `satseg demo-scenes` that make them; empty when they are there already.
        story: What they are, for people.
    """

    name: str
    folder: Path
    make: tuple[str, ...]
    story: str


@dataclass(frozen=True)
class DemoPlan:
    """Everything the demo needs to know; the end-to-end test runs a smaller one."""

    workspace: Workspace
    first: Arrival
    quiet: Arrival
    drifted: Arrival
    project: str = "buildings"
    projects_dir: Path = field(default_factory=lambda: settings().projects_dir.resolve())  # noqa: PLW0108
    training: dict[str, Any] = field(default_factory=dict)
    run_timeout_s: float = 1500.0
    tonight: date = field(default_factory=lambda: datetime.now(UTC).date())

    @property
    def outcome_file(self) -> Path:
        """What the stages returned, for scripts; written when the demo has ended well."""
        return self.workspace.root / "demo" / "outcome.json"

    @property
    def quiet_night(self) -> str:
        """The night without drift."""
        return (self.tonight - timedelta(days=1)).isoformat()

    @property
    def drifted_night(self) -> str:
        """The night with drift."""
        return self.tonight.isoformat()


def synthetic_plan(workspace: Workspace, project: str, count: int = 6, size_px: int = 1024, **more: Any) -> DemoPlan:
    """Return the plan with made-up towns: a set to learn from, two more of the same kind, two in haze."""
    made = workspace.root / "demo"

    def towns(name: str, number: int, seed: int, story: str, *knobs: str) -> Arrival:
        basics = ("--count", str(number), "--size", str(size_px), "--seed", str(seed), "--prefix", name)
        return Arrival(name, made / name, (*basics, *knobs), story)

    later = max(2, count // 3)
    more.setdefault("training", {"epochs": SYNTHETIC_EPOCHS})
    return DemoPlan(
        workspace,
        first=towns(FIRST, count, 1, f"{count} labelled synthetic towns"),
        quiet=towns(QUIET, later, 2, f"{later} more of the same kind"),
        drifted=towns(DRIFTED, later, 3, f"{later} in haze, from a camera of another gain", *DRIFT_KNOBS),
        project=project,
        **more,
    )


DRIFT_KNOBS = ("--haze", "0.35", "--gain", "0.8")


def own_scenes_plan(workspace: Workspace, project: str, scenes: Path, **more: Any) -> DemoPlan:
    """Return the plan with the user's scenes; the nights get copies with noise, and with haze and another gain.

    Raises:
        ConfigurationError: no such folder, or nothing in it.
    """
    scenes = scenes.resolve()
    if not scenes.is_dir():
        raise ConfigurationError(f"--scenes {scenes}: no such folder. Give the folder with your scenes and labels.")
    if not any(path.is_file() for path in scenes.rglob("*")):
        raise ConfigurationError(f"--scenes {scenes}: an empty folder. Give one with scenes and labels.")
    made = workspace.root / "demo"
    again = ("--from", str(scenes))
    return DemoPlan(
        workspace,
        first=Arrival(FIRST, scenes, (), f"the scenes of {scenes}"),
        quiet=Arrival(
            QUIET, made / QUIET, (*again, "--noise", "1", "--suffix", QUIET), "the same scenes with sensor noise"
        ),
        drifted=Arrival(
            DRIFTED, made / DRIFTED, (*again, "--suffix", DRIFTED, *DRIFT_KNOBS), "the same scenes in haze, other gain"
        ),
        project=project,
        **more,
    )


def free_workspace(wanted: Path, project: str) -> Workspace:
    """Return the wanted workspace, or a fresh `demo-N` inside it when it holds data of the project already."""
    workspace = Workspace(wanted)
    number = 2
    while _used(workspace, project):
        workspace = Workspace(wanted / f"demo-{number}")
        number += 1
    return workspace


def _used(workspace: Workspace, project: str) -> bool:
    # an interrupted demo counts: its Airflow may hold half-finished runs
    return workspace.dataset(project).exists() or (workspace.airflow / "airflow.db").exists()
