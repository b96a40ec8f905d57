"""The state of drift as a Prometheus textfile, `drift/<project>/metrics.prom`, for node_exporter's collector."""

from datetime import UTC, datetime
from pathlib import Path

from satseg.stages import DriftResult
from satseg.storage.atomic import write_text
from satseg.storage.layout import Workspace

METRICS_FILE = "metrics.prom"
_HELP = {
    "satseg_drift_drifted": "1 when the latest tested night drifted.",
    "satseg_drift_decided": "1 when the latest tested night could be decided.",
    "satseg_drift_p_value": "Smallest adjusted p-value of the latest tested night.",
    "satseg_drift_level": "Adjusted p-value up to which that night counts as drifted.",
    "satseg_drift_largest_distance": "Largest Kolmogorov-Smirnov distance of a feature.",
    "satseg_drift_distance": "Kolmogorov-Smirnov distance of a feature.",
    "satseg_drift_night_seconds": "Time of the latest tested night.",
}


def write_gauge(workspace: Workspace, project: str, night: DriftResult) -> Path:
    """Write the gauges of the latest tested night atomically; a collector never reads half a file."""
    path = workspace.drift(project) / METRICS_FILE
    write_text(path, gauge_text(project, night))
    return path


def gauge_text(project: str, night: DriftResult) -> str:
    """Return the gauges of a night in the text exposition format."""
    label = f'project="{_escaped(project)}"'
    at = datetime.fromisoformat(night.night).replace(tzinfo=UTC).timestamp()
    values: dict[str, list[tuple[str, float]]] = {
        "satseg_drift_drifted": [(label, float(night.drifted))],
        "satseg_drift_decided": [(label, float(night.p_value is not None))],
        "satseg_drift_night_seconds": [(label, at)],
    }
    if night.p_value is not None:
        values["satseg_drift_p_value"] = [(label, night.p_value)]
    if night.level is not None:
        values["satseg_drift_level"] = [(label, night.level)]
    tests = [*night.features, *night.predictions, *night.together]
    if tests:
        values["satseg_drift_largest_distance"] = [(label, max(test.distance for test in tests))]
        values["satseg_drift_distance"] = [
            (f'{label},feature="{_escaped(test.feature)}",kind="{test.kind}"', test.distance) for test in tests
        ]
    lines = []
    for name, samples in values.items():
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{labels}}} {value:.10g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
