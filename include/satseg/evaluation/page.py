"""The report for people: one HTML file without outside resources."""

import base64
from collections.abc import Mapping
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.evaluation import figures
from satseg.evaluation.report import PAGE_FILE, EvaluationReport
from satseg.stages import EvaluateResult, Interval, Scores
from satseg.storage.atomic import write_text

TEMPLATES = Path(__file__).parent / "templates"
MAPS_SHOWN = 12
NAMES = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_iou": "boundary IoU",
    "object_precision": "object precision",
    "object_recall": "object recall",
    "object_f1": "object F1",
    "ece": "calibration error (ECE)",
}


def write_page(folder: Path, project: ProjectConfig, report: EvaluationReport, maps: Mapping[str, Path]) -> None:
    """Write report.html into the folder of a report whose pictures are there."""
    write_text(folder / PAGE_FILE, render(project, report, folder / "samples.png", maps))


def render(project: ProjectConfig, report: EvaluationReport, samples: Path, maps: Mapping[str, Path]) -> str:
    """Return the page; `maps` are the pictures of the scenes, of which the worst are shown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "interval": interval, "picture": picture, "bar": figures.interval_bar}
    result = report.result
    shown = sorted(maps, key=lambda scene: _worst_first(result.per_scene[scene], scene))[:MAPS_SHOWN]
    return environment.get_template("report.html.jinja").render(
        project=project,
        report=report,
        result=result,
        names=["background", *report.classes],
        rows=[(NAMES[name], name, *_of(result, name)) for name in NAMES],
        reliability={name: figures.reliability_diagram(bins) for name, bins in report.reliability.items()},
        sweep=figures.threshold_curve(report.sweep, result.threshold, result.best_threshold) if report.sweep else None,
        samples=samples,
        maps={scene: maps[scene] for scene in shown},
        maps_left=len(maps) - len(shown),
    )


def _of(scores: EvaluateResult | Scores, name: str) -> tuple[float | None, Interval | None]:
    return getattr(scores, name), scores.intervals.get(name)


def _worst_first(scores: Scores, scene: str) -> tuple[bool, float, str]:
    return scores.iou is None, scores.iou or 0.0, scene


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for people; – where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(found: Interval | None) -> str:
    """Return the ends of an interval for people."""
    if found is None or found.low is None or found.high is None:
        return "–"
    return f"{found.low:.3f} to {found.high:.3f}"


def picture(path: Path) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
