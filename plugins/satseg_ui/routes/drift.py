"""Drift: how it stands, the nights, their reports and the trend; a test started by hand."""

from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError, NotFoundError
from satseg.stages import DriftResult, DriftStatusResult
from satseg_ui.airflow_calls import Started, start_run
from satseg_ui.paging import Page, PageQuery
from satseg_ui.project_files import workspace
from satseg_ui.remembered import remembered_by_file
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}/drift", tags=["drift"])
NIGHT_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
NightName = Annotated[str, Path(pattern=NIGHT_PATTERN, examples=["2026-11-23"])]
TREND_FEATURES = 8
# the report brings its own styles and pictures; it runs nothing and is framed by our page alone
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"


class NightRow(BaseModel):
    """A tested night."""

    night: str = Field(examples=["2026-11-23"])
    verdict: str = Field(examples=["drift"])
    drifted: bool
    alarm: bool = Field(description="Whether it opened a drift episode, which starts a retraining.")
    p_value: float | None
    level: float | None = Field(description="Adjusted p-value up to which a test of this night counts.")
    severity: str | None
    kinds: list[str]
    scenes: int
    champion: str | None
    reference_version: str | None
    report: bool = Field(description="Whether there is a page for people.")


class EpisodeRow(BaseModel):
    """A drift episode; open until a challenger is promoted or somebody closes it."""

    night: str
    opened_at: datetime
    reason: str
    closed_night: str | None
    closed_at: datetime | None
    close_reason: str | None


class Rule(BaseModel):
    """How many of the latest nights have to drift."""

    nights: int = Field(examples=[2])
    of: int = Field(examples=[3])


class DriftState(BaseModel):
    """How drift stands."""

    latest: NightRow | None
    status: DriftStatusResult | None = Field(description="Whether the latest night confirms drift, and why not.")
    episode: EpisodeRow | None = Field(description="The open one.")
    episodes: list[EpisodeRow]
    rule: Rule
    false_alarm_rate: float


class Trend(BaseModel):
    """Columns of equal length, oldest night first; null where a night has no such number."""

    nights: list[str]
    p_value: list[float | None]
    level: list[float | None]
    drifted: list[bool]
    alarm: list[bool]
    distances: dict[str, list[float | None]] = Field(description="Of the features that moved most of late.")


class NightForm(BaseModel):
    """Which scenes to test, and under which night to keep the result."""

    model_config = ConfigDict(extra="forbid")

    night: str | None = Field(None, pattern=NIGHT_PATTERN, description="Null: today (UTC).")
    dataset_version: str | None = Field(None, pattern=r"^v?[0-9]{1,9}$", description="Scenes this version added.")
    since: datetime | None = Field(None, description="Scenes ingested from then on.")
    until: datetime | None = Field(None, description="And before then.")
    replace: bool = Field(False, description="Replace the night's result about other scenes.")


@router.get("", summary="How drift stands")
@threaded
def drift_state(project: Readable) -> DriftState:
    """Show the latest night, whether drift is confirmed, and the episodes."""
    from satseg.drift.episode import read_history
    from satseg.drift.nights import tested_nights

    nights, history = tested_nights(workspace(), project.name), read_history(workspace(), project.name)
    alarms = {episode.night for episode in history.episodes}
    return DriftState(
        latest=_row(project.name, nights[-1], alarms) if nights else None,
        status=_status(project, nights[-1]) if nights else None,
        episode=EpisodeRow(**history.current.model_dump()) if history.current else None,
        episodes=[EpisodeRow(**episode.model_dump()) for episode in history.episodes],
        rule=Rule(nights=project.drift.confirm.nights, of=project.drift.confirm.of),
        false_alarm_rate=project.drift.false_alarm_rate,
    )


@router.get("/nights", summary="Tested nights, newest first")
@threaded
def list_nights(project: Readable, page: PageQuery) -> Page[NightRow]:
    """List the nights with their verdicts."""
    from satseg.drift.nights import tested_nights

    alarms = _alarms(project.name)
    nights = tested_nights(workspace(), project.name)[::-1]
    return page.of(nights, lambda night: _row(project.name, night, alarms))


@router.get("/trend", summary="The drift of many nights as columns")
@threaded
def trend(project: Readable, nights: Annotated[int, Query(ge=1, le=1000)] = 90) -> Trend:
    """Show how the nights went, for a chart: a night drifts where p_value is not above level."""
    from satseg.drift.nights import tested_nights

    names = tested_nights(workspace(), project.name)[-nights:]
    alarms, reports = _alarms(project.name), [_report(project.name, night) for night in names]
    distances = [{test.feature: test.distance for test in report.features} for report in reports]
    latest = next((known for known in reversed(distances) if known), {})
    shown = sorted(latest, key=lambda feature: -latest[feature])[:TREND_FEATURES]
    return Trend(
        nights=names,
        p_value=[report.p_value for report in reports],
        level=[report.level for report in reports],
        drifted=[report.drifted for report in reports],
        alarm=[name in alarms for name in names],
        distances={feature: [known.get(feature) for known in distances] for feature in shown},
    )


@router.get("/nights/{night}", summary="The report of a night as data")
@threaded
def show_night(project: Readable, night: NightName) -> DriftResult:
    """Show the decision of a night with all its tests."""
    from satseg.drift.nights import read_report

    return read_report(workspace(), project.name, night)


@router.get("/nights/{night}/report", summary="The report of a night as a page", response_class=HTMLResponse)
@threaded
def night_page(project: Readable, night: NightName) -> Response:
    """Show the report for people: one HTML page without anything from elsewhere."""
    from satseg.drift.nights import PAGE_FILE, check_night

    path = workspace().drift_night(project.name, check_night(night)) / PAGE_FILE
    if not path.is_file():
        raise NotFoundError(f"Night {night} of '{project.name}' has no report page.")
    return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": REPORT_POLICY})


@router.post("/nights", summary="Test a night", status_code=202, response_model=Started)
async def test_night(
    request: Request, form: NightForm, project: Annotated[ProjectConfig, Depends(permitted(Action.DRIFT))]
) -> Response:
    """Start drift_detection: profile → test → report → retraining where drift is confirmed."""
    return await start_run(request, dag_id(project.name, Action.DRIFT), form.model_dump(mode="json"))


@remembered_by_file
def _read(path: FilePath) -> DriftResult:
    from satseg.drift.nights import read_report

    night = path.parent
    return read_report(workspace(), night.parent.name, night.name)


def _report(project: str, night: str) -> DriftResult:
    from satseg.drift.nights import REPORT_FILE

    try:
        return _read(workspace().drift_night(project, night) / REPORT_FILE)
    except OSError as error:
        raise BadDataError(f"The report of night {night} cannot be read: {error}") from error


def _alarms(project: str) -> set[str]:
    from satseg.drift.episode import read_history

    return {episode.night for episode in read_history(workspace(), project).episodes}


def _row(project: str, night: str, alarms: set[str]) -> NightRow:
    from satseg.drift.nights import PAGE_FILE

    report = _report(project, night)
    told: dict[str, Any] = {
        name: getattr(report, name)
        for name in ("verdict", "drifted", "p_value", "level", "severity", "kinds", "champion", "reference_version")
    }
    page = workspace().drift_night(project, night) / PAGE_FILE
    return NightRow(night=night, alarm=night in alarms, scenes=len(report.scenes), report=page.is_file(), **told)


def _status(project: ProjectConfig, night: str) -> DriftStatusResult:
    from satseg.drift.status import run
    from satseg.stages import DriftStatusSpec

    return run(DriftStatusSpec(project=project, night=night), workspace())
