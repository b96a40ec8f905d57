"""Whether the latest nights confirm drift, and whether it may start a retraining."""

from satseg.config.operation import DriftConfig
from satseg.drift.episode import History, read_history
from satseg.drift.nights import read_report, tested_nights
from satseg.drift.reference import champion_of
from satseg.stages import DriftResult, DriftStatusResult, DriftStatusSpec
from satseg.storage.layout import Workspace


def run(spec: DriftStatusSpec, workspace: Workspace) -> DriftStatusResult:
    """Apply the k-of-n rule to the nights up to the one asked for, then the episode and cool-down rules.

    A night counts when it was decided (drift or no drift) against the same champion as this one and lies after the
    last closed episode. Nights without new scenes say nothing and are passed over. Drift is confirmed only on a night
    that drifted itself.

    Raises:
        NotFoundError: the night has not been tested.
    """
    project, drift = spec.project.name, spec.project.drift
    report = read_report(workspace, project, spec.night)
    history = read_history(workspace, project)
    nights = _counted(workspace, project, report, history, drift.confirm.of)
    confirmed, reason = _confirmed(report, nights, drift)
    if confirmed and (replaced := _replaced(workspace, project, report)):
        confirmed, reason = False, replaced
    forbidden = _forbidden(workspace, project, spec.night, history, drift) if confirmed else None
    trigger = confirmed and forbidden is None
    verb = "confirmed, retraining" if trigger else "confirmed, no retraining" if confirmed else "not confirmed"
    return DriftStatusResult(
        message=f"Night {spec.night}: drift {verb} ({forbidden or reason}).",
        night=spec.night,
        confirmed=confirmed,
        trigger=trigger,
        reason=forbidden or reason,
        nights=dict(sorted({**nights, spec.night: report.drifted}.items())),
    )


def _counted(workspace: Workspace, project: str, report: DriftResult, history: History, window: int) -> dict[str, bool]:
    """Return the latest nights that count, at most `window`, oldest first."""
    used_until = history.last_closed_night or ""
    found: dict[str, bool] = {}
    for night in reversed(tested_nights(workspace, project)):
        if night <= used_until or len(found) == window:
            break
        if night > report.night:
            continue
        other = read_report(workspace, project, night)
        if other.verdict in {"drift", "no drift"} and other.champion == report.champion:
            found[night] = other.drifted
    return dict(sorted(found.items()))


def _confirmed(report: DriftResult, nights: dict[str, bool], drift: DriftConfig) -> tuple[bool, str]:
    rule = f"{drift.confirm.nights} of {drift.confirm.of} nights are needed"
    drifted = [night for night, moved in nights.items() if moved]
    if not report.drifted:
        return False, f"the night's verdict is '{report.verdict}'"
    if report.night not in nights:
        return False, "the night belongs to a drift episode that is closed"
    if len(drifted) < drift.confirm.nights:
        return False, f"{len(drifted)} of the latest {len(nights)} counted nights drifted; {rule}"
    return True, f"{', '.join(drifted)} drifted; {rule}"


def _replaced(workspace: Workspace, project: str, report: DriftResult) -> str | None:
    champion = champion_of(workspace, project)
    if champion is not None and champion.label == report.champion:
        return None
    now = f"champion is now {champion.label}" if champion else "project has no champion now"
    return (
        f"the night was compared with the training data of {report.champion}, but the {now}; "
        f"run `satseg drift test --night {report.night}` again to compare with the new reference"
    )


def _forbidden(workspace: Workspace, project: str, night: str, history: History, drift: DriftConfig) -> str | None:
    # the night's own episode: its retraining may have been asked for and not started
    if (current := history.current) is not None and current.night != night:
        return f"the drift episode of night {current.night} is still open"
    closed = history.last_closed_night
    if closed is not None and history.current is None:
        nights_since = sum(closed < tested <= night for tested in tested_nights(workspace, project))
        if nights_since <= drift.cooldown_nights:
            return (
                f"cool-down: night {nights_since} of {drift.cooldown_nights} after the episode closed on night {closed}"
            )
    return None
