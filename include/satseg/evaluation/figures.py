"""Figures of the report as SVG text that takes its colours from the page, so that it reads in light and in dark."""

from collections.abc import Sequence

from satseg.stages import Interval

WIDTH, HEIGHT, EDGE = 360, 300, 50


class _Plot:
    """Axes from 0 to 1 both ways."""

    def __init__(self, title: str, across: str, up: str) -> None:
        self._parts = [f"<title>{title}</title>"]
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = self.place(tick, tick)
            left, bottom = self.place(0, 0)
            right, top = self.place(1, 1)
            self._parts += [
                f'<path class="grid" d="M{x:.1f} {bottom:.1f}V{top:.1f}M{left:.1f} {y:.1f}H{right:.1f}"/>',
                f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{tick:g}</text>',
                f'<text x="{left - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>',
            ]
        self._parts += [
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{across}</text>',
            f'<text x="11" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 11 {HEIGHT / 2})">{up}</text>',
        ]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies in the picture."""
        return EDGE + x * (WIDTH - EDGE - 12), HEIGHT - EDGE + y * (EDGE + 12 - HEIGHT)

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))
        self._parts.append(f'<polyline class="{kind}" points="{places}"/>')

    def dot(self, x: float, y: float, radius: float, words: str) -> None:
        """Draw a dot that tells its numbers when pointed at."""
        left, top = self.place(x, y)
        self._parts.append(
            f'<circle class="dot" cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}"><title>{words}</title></circle>'
        )

    def svg(self) -> str:
        """Return the picture."""
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(self._parts)}</svg>'


def reliability_diagram(bins: Sequence[tuple[float, float, float]]) -> str:
    """Draw how often a class is there against how probable it was called; larger dots stand for more pixels.

    `bins` are (pixels, sum of probabilities, pixels labelled so).
    """
    plot = _Plot("Reliability diagram", "probability", "labelled so")
    plot.line([(0, 0), (1, 1)], "ideal")
    filled = [one for one in bins if one[0] > 0]
    points = [(probability / pixels, labelled / pixels) for pixels, probability, labelled in filled]
    plot.line(points, "curve")
    most = max((pixels for pixels, *_ in filled), default=1.0)
    for (x, y), (pixels, *_) in zip(points, filled, strict=True):
        plot.dot(x, y, 2.5 + 5 * (pixels / most) ** 0.5, f"probability {x:.2f}, labelled {y:.2f}, {pixels:,.0f} pixels")
    return plot.svg()


def threshold_curve(sweep: Sequence[tuple[float, float]], used: float | None, best: float | None) -> str:
    """Draw the IoU on validation windows against the threshold, with the one in use and the best one."""
    plot = _Plot("IoU by threshold", "threshold", "IoU on validation windows")
    plot.line(list(sweep), "curve")
    if used is not None:
        plot.line([(used, 0), (used, 1)], "used")
    for threshold, iou in sweep:
        if best is not None and abs(threshold - best) < 1e-9:
            plot.dot(threshold, iou, 5, f"best: {threshold:.2f}, IoU {iou:.3f}")
    return plot.svg()


def interval_bar(value: float | None, interval: Interval | None) -> str:
    """Draw a value between 0 and 1 as a bar with its interval as a whisker."""
    if value is None:
        return ""
    parts = [f'<rect class="bar" x="0" y="4" width="{100 * value:.1f}" height="8"/>']
    if interval is not None and interval.low is not None and interval.high is not None:
        low, high = 100 * interval.low, 100 * interval.high
        parts.append(f'<path class="whisker" d="M{low:.1f} 8H{high:.1f}M{low:.1f} 4V12M{high:.1f} 4V12"/>')
    return f'<svg class="inline" viewBox="-1 0 102 16" preserveAspectRatio="none">{"".join(parts)}</svg>'
