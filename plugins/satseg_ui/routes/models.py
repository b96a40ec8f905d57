"""Model versions: listed, shown with what was decided about them, compared; registered, promoted, rolled back."""

import math
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg.stages import Gate
from satseg_ui.airflow_calls import Started, start_run
from satseg_ui.forms import Reason
from satseg_ui.mlflow_pages import version_page
from satseg_ui.paging import Page, PageQuery
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}", tags=["models"])
REFERENCE = r"^(v?[0-9]{1,9}|champion|challenger|previous)$"
Reference = Annotated[str, Path(description="Version or alias.", pattern=REFERENCE, examples=["champion", "v3"])]
First = Annotated[str, Path(description="Version or alias.", pattern=REFERENCE, examples=["champion"])]
Second = Annotated[str, Path(description="Version or alias.", pattern=REFERENCE, examples=["challenger"])]


class ModelRow(BaseModel):
    """A version of the project's registered model."""

    version: str = Field(examples=["3"])
    aliases: list[str] = Field(examples=[["champion"]])
    stage: str = Field(examples=["Production"])
    run_id: str
    created_at: datetime
    dataset_version: str | None = Field(examples=["v2"])
    patch_set: str | None
    test_iou: float | None = Field(examples=[0.62])
    decision: str | None = Field(examples=["promoted"])
    reason: str | None


class Decision(BaseModel):
    """An entry of satseg's audit log."""

    time: datetime
    who: str = Field(examples=["admin"])
    action: str = Field(examples=["promoted"])
    from_version: str | None = Field(serialization_alias="from", description="Champion before it.")
    to_version: str = Field(serialization_alias="to", description="The version it is about.")
    reason: str
    gates: list[Gate]


class Score(BaseModel):
    """The test IoU with its 95% interval over blocks, beside the map that says yes everywhere."""

    patch_set: str
    iou: float
    low: float | None
    high: float | None
    blocks: int | None
    iou_all_positive: float
    dice: float
    precision: float
    recall: float


class ModelDetail(ModelRow):
    """All that is known of a version."""

    description: str = Field(description="Model card, Markdown.")
    champion_since: datetime | None
    champion_because: str | None
    goes_back_to: str | None = Field(description="Version that a rollback makes champion.")
    promoted_by: str | None
    score: Score | None = Field(description="On the patch set it was trained on; null when it was not measured.")
    gates: list[Gate] = Field(description="Of the last decision about it.")
    decided_at: datetime | None
    decided_by: str | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    history: list[Decision]
    mlflow_url: str | None


class Difference(BaseModel):
    """Something in which two versions differ; null is not recorded."""

    what: str = Field(examples=["param epochs"])
    first: str | None
    second: str | None


class ScorePair(BaseModel):
    """The same score on the same blocks; the interval is that of second minus first."""

    where: str = Field(examples=["reference blocks"])
    score: str = Field(examples=["iou"])
    first: float
    second: float
    low: float | None
    high: float | None
    blocks: int | None


class Comparison(BaseModel):
    """Two versions side by side."""

    first: ModelRow
    second: ModelRow
    differences: list[Difference]
    patch_set: str | None = Field(description="The patch set both were measured on.")
    scores: list[ScorePair]


class RegisterForm(BaseModel):
    """Which run becomes a version."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(pattern=r"^[0-9a-f]{8,32}$", examples=["a4fe0d38092e452f90860513a0fe61c2"])


class ReasonForm(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = ""


@router.get("/models", summary="Model versions, newest first")
@threaded
def list_models(project: Readable, page: PageQuery) -> Page[ModelRow]:
    """List what is registered, with aliases and the last decision."""
    from satseg.registry.overview import list_models as registered

    return page.of(registered(workspace(), project.name), lambda row: ModelRow(**row.model_dump()))


@router.get("/models/{ref}", summary="A model version: scores, gates, history")
@threaded
def show_model(project: Readable, ref: Reference) -> ModelDetail:
    """Show one version; 404 for an alias that is not set, such as champion before the first promotion."""
    from satseg.registry.overview import show_model as known

    found = known(workspace(), project.name, ref)
    about = [entry for entry in found.history if entry.to_version == found.version]
    decided = next((entry for entry in reversed(about) if entry.action != "registered"), None)
    made = next((entry for entry in reversed(about) if entry.time == found.champion_since), None)
    return ModelDetail(
        **{name: getattr(found, name) for name in ModelDetail.model_fields if name in type(found).model_fields}
        | {"history": [_decision(entry) for entry in found.history], "metrics": _numbers(found.metrics)},
        promoted_by=made.who if made else None,
        score=_score(found),
        gates=_last_gates(about),
        decided_at=decided.time if decided else None,
        decided_by=decided.who if decided else None,
        mlflow_url=version_page(project.name, found.version),
    )


@router.get("/models/{first}/compare/{second}", summary="Two versions side by side")
@threaded
def compare(project: Readable, first: First, second: Second) -> Comparison:
    """Compare settings, and scores on the blocks both were measured on."""
    from satseg.registry.overview import compare_models

    return Comparison(**compare_models(workspace(), project.name, first, second).model_dump())


@router.get("/audit", summary="What was decided about models, newest first")
@threaded
def audit(project: Readable, page: PageQuery) -> Page[Decision]:
    """List satseg's audit log: who, when, why, with which gates."""
    from satseg.registry.audit import entries

    return page.of(entries(workspace().audit_log(project.name))[::-1], _decision)


@router.post("/models", summary="Register a run", status_code=202, response_model=Started)
async def register(
    request: Request, form: RegisterForm, project: Annotated[ProjectConfig, Depends(permitted(Action.REGISTER))]
) -> Response:
    """Start model_registration: evaluate → register as challenger, which starts model_promotion."""
    return await start_run(request, dag_id(project.name, Action.REGISTER), form.model_dump())


@router.post("/models/{ref}/promotion", summary="Promote a version", status_code=202, response_model=Started)
async def promote(
    request: Request,
    ref: Reference,
    form: ReasonForm,
    project: Annotated[ProjectConfig, Depends(permitted(Action.PROMOTE))],
) -> Response:
    """Start model_promotion: gates → approval where the project asks for it → champion."""
    conf = {"action": "promote", "version": ref, "reason": form.reason}
    return await start_run(request, dag_id(project.name, Action.PROMOTE), conf)


@router.post("/rollback", summary="Go back to the champion before", status_code=202, response_model=Started)
async def rollback(
    request: Request, form: ReasonForm, project: Annotated[ProjectConfig, Depends(permitted(Action.ROLLBACK))]
) -> Response:
    """Start model_promotion with the action rollback."""
    conf = {"action": "rollback", "reason": form.reason}
    return await start_run(request, dag_id(project.name, Action.ROLLBACK), conf)


def _decision(entry: Any) -> Decision:
    return Decision(**{name: getattr(entry, name) for name in Decision.model_fields})


def _last_gates(about: list[Any]) -> list[Gate]:
    return next((entry.gates for entry in reversed(about) if entry.gates), [])


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}  # JSON has no NaN


def _score(found: Any) -> Score | None:
    reports = found.reports
    result = reports.get(found.patch_set) or next(iter(reversed(reports.values())), None)
    if result is None:
        return None
    interval = result.intervals.get("iou")
    return Score(
        patch_set=result.patch_set,
        iou=result.iou,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        blocks=interval.blocks if interval else None,
        iou_all_positive=result.iou_all_positive,
        dice=result.dice,
        precision=result.precision,
        recall=result.recall,
    )
