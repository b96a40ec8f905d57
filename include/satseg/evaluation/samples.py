"""Choose the windows that show what a model does well, usually and badly."""

from collections.abc import Mapping, Sequence

from satseg.evaluation.windows import HeldOut

PER_KIND = 3


def choose(
    windows: Sequence[HeldOut], window_iou: Mapping[int, float], per_kind: int = PER_KIND
) -> list[tuple[str, HeldOut]]:
    """Return (kind, window) for the worst, typical and best windows, kinds in this order, no window twice.

    Windows with labels are preferred: an empty window that stays empty has IoU 1 and shows nothing.
    """
    telling = [window for window in windows if window.positive] or list(windows)
    ranked = sorted(telling, key=lambda window: (window_iou[window.number], window.number))
    worst = ranked[:per_kind]
    best = ranked[per_kind:][-per_kind:][::-1]
    between = ranked[per_kind : len(ranked) - len(best)]
    start = max(0, (len(between) - per_kind) // 2)
    typical = between[start : start + per_kind]
    return [
        (kind, window) for kind, chosen in (("worst", worst), ("typical", typical), ("best", best)) for window in chosen
    ]
