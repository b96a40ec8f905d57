"""The quiet period a night belongs to, and which scenes its earlier nights saw."""

from dataclasses import dataclass

import pandas as pd

from satseg.config.project import ProjectConfig
from satseg.drift.episode import read_history
from satseg.drift.nights import read_report, tested_nights
from satseg.drift.sequential import confirmation_chance, night_level
from satseg.stages import DriftResult
from satseg.storage.layout import Workspace

DECIDED = frozenset({"drift", "no drift"})


@dataclass(frozen=True)
class Period:
    """The nights since the champion, or the last drift episode, in stretches of `drift.quiet_nights`.

    Attributes:
        nights: Decided nights of this stretch before the one in question, oldest first.
        level: Level of each night.
    """

    nights: list[str]
    level: float


def period_of(workspace: Workspace, project: ProjectConfig, night: str, champion: str) -> Period:
    """Return the period of a night that is tested against a champion."""
    drift = project.drift
    level = night_level(drift.false_alarm_rate, drift.quiet_nights, drift.confirm.nights, drift.confirm.of)
    since = read_history(workspace, project.name).last_closed_night or ""
    before = [other for other in tested_nights(workspace, project.name) if since < other < night]
    reports = [read_report(workspace, project.name, other) for other in before]
    decided = [report.night for report in reports if counts(report, champion)]
    return Period(decided[len(decided) - len(decided) % drift.quiet_nights :], level)


def counts(report: DriftResult, champion: str | None) -> bool:
    """Return whether a night was decided against this champion."""
    return report.verdict in DECIDED and report.champion == champion


def period_bound(project: ProjectConfig, of_a_night: float, independent: bool) -> float:
    """Return the chance of a confirmed alarm in a quiet period whose nights alarm with the given chance.

    Without independence of the nights only Markov's inequality holds.
    """
    drift = project.drift
    if not independent:
        return min(1.0, drift.quiet_nights * of_a_night / drift.confirm.nights)
    return confirmation_chance(of_a_night, drift.quiet_nights, drift.confirm.nights, drift.confirm.of)


def unseen(profile: pd.DataFrame, *others: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of scenes that none of the others holds."""
    known = {checksum for other in others if not other.empty for checksum in other["checksum"]}
    return profile if profile.empty else profile[~profile["checksum"].isin(known)]
