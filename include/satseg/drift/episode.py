"""Drift episodes: one at a time, opened when a retraining is triggered, closed when it has led somewhere."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from satseg.drift.nights import check_night, tested_nights
from satseg.errors import BadDataError, ConfigurationError
from satseg.stages import DriftEpisodeResult, DriftEpisodeSpec
from satseg.storage.atomic import exclusive, remove_stale_temps, write_json
from satseg.storage.layout import Workspace

EPISODE_FILE = "episode.json"


class Episode(BaseModel):
    """From the night that triggered a retraining to its end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    night: str
    opened_at: datetime
    reason: str
    closed_night: str | None = None
    closed_at: datetime | None = None
    close_reason: str | None = None

    @property
    def open(self) -> bool:
        """Whether it still forbids another one."""
        return self.closed_night is None


class History(BaseModel):
    """All episodes of a project, oldest first; only the last can be open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: list[Episode] = []

    @property
    def current(self) -> Episode | None:
        """The open episode."""
        return self.episodes[-1] if self.episodes and self.episodes[-1].open else None

    @property
    def last_closed_night(self) -> str | None:
        """The latest night that belongs to a closed episode."""
        return max((episode.closed_night for episode in self.episodes if episode.closed_night), default=None)


def run(spec: DriftEpisodeSpec, workspace: Workspace) -> DriftEpisodeResult:
    """Open or close an episode; saying the same twice changes nothing.

    Raises:
        ConfigurationError: opening without a night, or not a night.
    """
    project = spec.project.name
    if spec.night is not None:
        check_night(spec.night)
    with exclusive(workspace.lock(f"drift-episode-{project}"), f"The drift episode of {project}"):
        remove_stale_temps(workspace.drift(project))
        history = read_history(workspace, project)
        if spec.action == "open":
            if spec.night is None:
                raise ConfigurationError("An episode is opened for a night: give --night YYYY-MM-DD.")
            after, message = _opened(history, spec.night, spec.reason)
            named = next((episode for episode in after.episodes if episode.night == spec.night), after.current)
        else:
            latest = max([*tested_nights(workspace, project), ""])
            after, message = _closed(history, spec.night, spec.reason, latest)
            named = after.episodes[-1] if after.episodes else None
        if after != history:
            write_json(_file(workspace, project), after.model_dump(mode="json"))
    state = "none" if named is None else "open" if named.open else "closed"
    return DriftEpisodeResult(message=message, night=named.night if named else None, state=state)


def refused(spec: DriftEpisodeSpec, result: DriftEpisodeResult) -> bool:
    """Return whether the episode is not as asked for, because another one is in the way."""
    if spec.action == "open":
        return (result.night, result.state) != (spec.night, "open")
    return result.state == "open"


def read_history(workspace: Workspace, project: str) -> History:
    """Return the project's episodes.

    Raises:
        BadDataError: the file is damaged.
    """
    path = _file(workspace, project)
    if not path.is_file():
        return History()
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadDataError(
            f"{path} is not a list of drift episodes ({type(error).__name__}). Restore it from a backup, or remove it: "
            "then no episode is open and none is remembered."
        ) from error


def _file(workspace: Workspace, project: str) -> Path:
    return workspace.drift(project) / EPISODE_FILE


def _opened(history: History, night: str, reason: str) -> tuple[History, str]:
    same = next((episode for episode in history.episodes if episode.night == night), None)
    if same is not None:
        state = "is open already" if same.open else f"was closed on night {same.closed_night} ({same.close_reason})"
        return history, f"The drift episode of night {night} {state}; nothing changed."
    if (current := history.current) is not None:
        return history, f"The drift episode of night {current.night} is still open; none was opened for {night}."
    opened = Episode(night=night, opened_at=datetime.now(UTC), reason=reason)
    return History(episodes=[*history.episodes, opened]), f"Drift episode opened for night {night}."


def _closed(history: History, night: str | None, reason: str, latest_tested: str) -> tuple[History, str]:
    current = history.current
    if current is None:
        return history, "No drift episode is open; nothing changed."
    if night is not None and night < current.night:
        return history, (
            f"The open drift episode began on night {current.night}, after {night}; nothing changed. "
            f"To close it give --night {current.night} or no night."
        )
    # nights tested while it was open belong to it: they saw the drift it was opened for
    until = max(current.night, night or "", latest_tested)
    ended = current.model_copy(update={"closed_night": until, "closed_at": datetime.now(UTC), "close_reason": reason})
    return History(episodes=[*history.episodes[:-1], ended]), (
        f"Drift episode of night {current.night} closed on night {until}{f': {reason}' if reason else ''}."
    )
