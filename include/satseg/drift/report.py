"""Draw a tested night for people: one HTML file without outside resources, and the same figures in MLflow."""

import base64
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord, open_version
from satseg.drift import figures, status
from satseg.drift.compare import compared_profiles
from satseg.drift.examples import Example, side_by_side
from satseg.drift.nights import PAGE_FILE, REPORT_FILE, read_report, tested_nights, write_report
from satseg.drift.permutation import ks_distances
from satseg.drift.profile import ProfileKind
from satseg.errors import TemporaryError
from satseg.stages import DriftReportSpec, DriftResult, DriftStatusSpec
from satseg.storage.atomic import exclusive, write_text
from satseg.storage.layout import Workspace

REFERENCE_LISTED = 12
NIGHTS_DRAWN = 60


@dataclass(frozen=True)
class Evidence:
    """What the page shows besides the numbers of the result."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    examples: tuple[list[Example], list[Example]] = ([], [])
    scenes: list[dict[str, Any]] = field(default_factory=list)
    reference_scenes: list[dict[str, Any]] = field(default_factory=list)


def run(spec: DriftReportSpec, workspace: Workspace) -> DriftResult:
    """Write report.html, name it in report.json and log both to the MLflow run "drift <night>".

    Nights without a measurement (no new scenes, not enough reference) get a page, but no MLflow run.

    Raises:
        NotFoundError: the night has not been tested.
        TemporaryError: MLflow does not answer; the page is written all the same.
    """
    project = spec.project
    with exclusive(workspace.lock(f"drift-{project.name}-{spec.night}"), f"Night {spec.night}"):
        result = read_report(workspace, project.name, spec.night)
        evidence = _evidence(workspace, project, result) if result.features else Evidence()
        page = workspace.drift_night(project.name, spec.night) / PAGE_FILE
        result = result.model_copy(update={"report": str(page)})
        write_text(page, render(project, result, evidence, _next_step(project, spec.night, workspace)))
        write_report(workspace, project.name, result)
        if result.features:
            _log(workspace, project.name, result, page, evidence.pictures)
    return result


def _next_step(project: ProjectConfig, night: str, workspace: Workspace) -> str:
    try:
        return status.run(DriftStatusSpec(project=project, night=night), workspace).message
    except TemporaryError as error:  # a service that is down now is no reason to withhold the page
        return f"Whether a retraining may start could not be asked: {error}"


def render(project: ProjectConfig, result: DriftResult, evidence: Evidence, next_step: str) -> str:
    """Return the page; every name in it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("satseg.drift", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["picture"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    template = environment.get_template("report.html.jinja")
    return template.render(
        project=project, result=result, evidence=evidence, next_step=next_step, listed=REFERENCE_LISTED
    )


def _evidence(workspace: Workspace, project: ProjectConfig, result: DriftResult) -> Evidence:
    reference, night = compared_profiles(workspace, project, result)
    names = [feature.feature for feature in result.features]
    drifted = {feature.feature for feature in result.features if feature.drifted}
    old = _by_checksum(workspace, project.name, result.reference_version, reference)
    new = _by_checksum(workspace, project.name, None, night)
    pictures = {
        "trends": figures.trends(_nights_until(workspace, project.name, result)),
        "distributions": figures.distributions(reference, night, names, drifted),
        "places": figures.places(reference, night, names[0]),
    }
    if (drawn := figures.footprints(list(old.values()), list(new.values()))) is not None:
        pictures["map"] = drawn
    return Evidence(
        pictures=pictures,
        examples=side_by_side(reference, night, names[0], ProfileKind.of(project).patch_px, (old, new)),
        scenes=_scene_rows(reference, night, names),
        reference_scenes=[
            {"scene": str(scene), "patches": len(rows)} for scene, rows in reference.groupby("scene", sort=True)
        ],
    )


def _nights_until(workspace: Workspace, project: str, result: DriftResult) -> list[DriftResult]:
    before = [night for night in tested_nights(workspace, project) if night < result.night][-NIGHTS_DRAWN + 1 :]
    return [*(read_report(workspace, project, night) for night in before), result]


def _by_checksum(
    workspace: Workspace, project: str, version: str | None, profile: pd.DataFrame
) -> dict[str, SceneRecord]:
    used = set(profile["checksum"])
    return {
        record.checksum: record
        for record in open_version(workspace, project, version).scenes
        if record.checksum in used
    }


def _scene_rows(reference: pd.DataFrame, night: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """Return for each scene of the night how far it alone is from the reference, farthest first."""
    rows = []
    for scene, patches in night.groupby("scene", sort=True):
        values = np.concatenate([reference[names].to_numpy(np.float32), patches[names].to_numpy(np.float32)])
        side = np.repeat(np.array([0, 1], np.intp), (len(reference), len(patches)))
        distances = ks_distances(values, side, np.array([[False, True]]))[0]
        farthest = int(distances.argmax())
        rows.append(
            {
                "scene": str(scene),
                "patches": len(patches),
                "feature": names[farthest],
                "distance": float(distances[farthest]),
            }
        )
    return sorted(rows, key=lambda row: -float(row["distance"]))


def _log(workspace: Workspace, project: str, result: DriftResult, page: Path, pictures: dict[str, bytes]) -> None:
    from satseg.tracking.runs import find_runs, log_to_run, tracked_run

    tags = {"satseg.kind": "drift", "satseg.night": result.night}
    told = {
        "satseg.verdict": result.verdict,
        "satseg.drift_kinds": ", ".join(result.kinds),
        "satseg.reference_version": result.reference_version or "",
        "satseg.champion": result.champion or "",
    }
    metrics = {"drifted": float(result.drifted), "p_value": float(result.p_value or 0.0)}
    for test in (*result.features, *result.predictions, *result.together):
        name = test.feature.replace(" ", "_")
        metrics[f"distance_{name}"] = test.distance
        metrics[f"p_adjusted_{name}"] = test.p_adjusted
        metrics[f"shift_{name}"] = test.shift
    with tempfile.TemporaryDirectory(prefix="satseg-drift-") as folder:
        files = {page: "", page.with_name(REPORT_FILE): ""}
        for name, png in pictures.items():
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            files[path] = "figures"
        known = find_runs(workspace, project, tags)
        if known:  # drawn again: the run of the night stays one
            log_to_run(workspace, known[0].id, metrics=metrics, tags=told, files=files)
            return
        with tracked_run(workspace, project, name=f"drift {result.night}", tags={**tags, **told}, params={}) as run:
            run.log_metrics(metrics, step=0)
            for path, artifacts in files.items():
                run.log_file(path, artifacts)
