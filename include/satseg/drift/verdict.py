"""A night's decision as people and programs read it: verdict, kind, severity and one line of words."""

from typing import Literal

from satseg.config.project import ProjectConfig
from satseg.drift.decision import CORRECTIONS, Decision
from satseg.drift.period import Period, period_bound
from satseg.stages import DriftResult, FeatureDrift

FEATURES_NAMED = 3
CLEAR, SEVERE = 0.5, 0.75  # largest distance from which drift is called so


def told(project: ProjectConfig, night: str, looks: list[Decision], period: Period) -> DriftResult:
    """Return the result of a decided night; the first look is that at the pixels.

    Args:
        project: The project.
        night: YYYY-MM-DD.
        looks: At least one, each decided.
        period: The quiet period the night belongs to.
    """
    pixels, others = looks[0], looks[1:]
    tests = [test for look in looks for test in look.tests]
    moved = sorted((test for test in tests if test.drifted), key=lambda test: -test.distance)
    bound = pixels.bound if pixels.permuted == "blocks" else period.level
    assert bound is not None
    return DriftResult(
        message=_message(night, looks, project.drift.min_effect),
        night=night,
        verdict="drift" if moved else "no drift",
        drifted=bool(moved),
        p_value=min(test.p_adjusted for test in tests),
        features=pixels.features,
        together=[look.together for look in looks if look.together is not None],
        predictions=[feature for look in others for feature in look.features],
        permuted=pixels.permuted,
        correction=CORRECTIONS[project.drift.correction],
        false_alarm_bound=bound,
        level=period.level,
        quiet_nights=project.drift.quiet_nights,
        period_bound=period_bound(project, bound, independent=pixels.permuted == "scenes"),
        earlier_nights=period.nights if pixels.permuted == "scenes" else [],
        kinds=_kinds(moved),
        severity=severity_of(moved),
    )


def severity_of(moved: list[FeatureDrift]) -> Literal["slight", "clear", "severe"] | None:
    """Return how far the night is away, by the largest Kolmogorov-Smirnov distance; None without drift."""
    if not moved:
        return None
    largest = max(test.distance for test in moved)
    return "severe" if largest >= SEVERE else "clear" if largest >= CLEAR else "slight"


def _kinds(moved: list[FeatureDrift]) -> list[str]:
    """Return the kinds of the drifted tests, the farthest first; all features together speak only for themselves.

    Content is named when no single feature shows the drift, or more than light and texture have moved.
    """
    alone = [test for test in moved if test.kind != "content"]
    return list(dict.fromkeys(test.kind for test in alone)) or ["content"] * bool(moved)


def _message(night: str, looks: list[Decision], min_effect: float) -> str:
    tests = [test for look in looks for test in look.tests]
    moved = [test for test in tests if test.drifted]
    pixels = looks[0]
    how = f"{pixels.explanation}; {len(tests)} tests"
    held_back = ""
    if held := sum(look.held_back for look in looks):
        held_back = f" {held} features differ, but no further than the scenes differ among themselves."
    if not moved:
        largest = max(pixels.features, key=lambda feature: feature.distance)
        return (
            f"Night {night}: no drift. Largest distance {largest.distance:.2f} ({largest.feature}, adjusted p "
            f"{largest.p_adjusted:.3g}; distances below {min_effect:g} never count).{held_back} {how}."
        )
    named = "; ".join(_words(test) for test in moved[:FEATURES_NAMED])
    more = f" and {len(moved) - FEATURES_NAMED} more features" if len(moved) > FEATURES_NAMED else ""
    return f"Night {night}: DRIFT. {named[0].upper()}{named[1:]}{more}.{held_back} {how}."


def _words(test: FeatureDrift) -> str:
    return f"predicted: {test.change}" if test.kind == "prediction" else test.change
