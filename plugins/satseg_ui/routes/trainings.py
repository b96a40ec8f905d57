"""Trainings: started, watched, with what MLflow hears of them while they run."""

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from satseg.config.project import ProjectConfig
from satseg.config.training import TrainingConfig
from satseg_ui import airflow_state
from satseg_ui.airflow_calls import Started, start_run
from satseg_ui.airflow_state import DagRun, Task
from satseg_ui.mlflow_pages import run_page
from satseg_ui.paging import Page, PageQuery
from satseg_ui.project_files import workspace
from satseg_ui.rights import Action, Readable, dag_id, permitted
from satseg_ui.routes.projects import RunId
from satseg_ui.work import threaded

router = APIRouter(prefix="/projects/{project}", tags=["training"])
Architecture = TrainingConfig.model_fields["architecture"].annotation
MlflowRunId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["a4fe0d38092e452f90860513a0fe61c2"])]
EPOCH_METRIC = "val_iou"
MetricNames = Annotated[
    list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_ ./-]+$", max_length=250)]],
    Query(max_length=50, description="Metrics; none: all.", examples=[["val_iou"]]),
]


class TrainingForm(BaseModel):
    """What is other than the project file says, for this training."""

    model_config = ConfigDict(extra="forbid")

    patch_set: str | None = Field(None, pattern=r"^[0-9a-f]{12}$", description="Null: the newest.")
    architecture: Architecture | None = Field(None, description="The decoder.", examples=["linknet"])  # type: ignore[valid-type]
    backbone: str | None = Field(None, max_length=40, description="The encoder.", examples=["efficientnetb0"])
    epochs: int | None = Field(None, ge=1, le=2000, examples=[30])
    steps_per_epoch: int | None = Field(None, ge=1, le=10**6, description="Null: every draw once.")
    batch_size: int | None = Field(None, ge=1, le=512, examples=[8])
    learning_rate: float | None = Field(None, gt=0, le=1, description="Peak learning rate.", examples=[0.001])
    init_from: str | None = Field(
        None, pattern=r"^[^\x00]{1,500}$", description="champion, a version, run or models:/ URI to start from."
    )
    trials: int | None = Field(None, ge=1, le=1000, description="Of a search, where the project has a search space.")


class RetrainingForm(BaseModel):
    """Why, and with what new labels."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(None, min_length=1, max_length=1000, description="Folder; null: the drop zone.")
    night: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$", description="The night that is the reason.")


class FormField(BaseModel):
    """A value of the training form."""

    name: str = Field(examples=["epochs"])
    title: str
    type: str = Field(examples=["integer"])
    default: Any = Field(description="The project's own value.", examples=[30])
    description: str
    minimum: float | None
    maximum: float | None
    options: list[Any] | None


class TrainingFormFields(BaseModel):
    """The training form of a project."""

    fields: list[FormField]


class TrackedRun(BaseModel):
    """A run as MLflow knows it now."""

    run_id: str
    name: str
    status: Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
    epoch: int | None = Field(description="The last epoch that ended.", examples=[12])
    epochs: int | None = Field(description="Epochs there will be.", examples=[30])
    metrics: dict[str, float] = Field(description="Latest values.", examples=[{"val_iou": 0.61}])
    params: dict[str, str]
    started_at: datetime
    ended_at: datetime | None
    url: str | None = Field(description="Its page in MLflow, where that is a server.")


class Training(BaseModel):
    """A training: the run of the DAG, its tasks, and the MLflow runs of it so far."""

    dag_run: DagRun
    tasks: list[Task]
    runs: list[TrackedRun]


class Point(BaseModel):
    """A value of a metric."""

    step: int
    value: float | None = Field(description="Null: not a number.")
    time: datetime


class MetricHistory(BaseModel):
    """Every value of some metrics."""

    run_id: str
    metrics: dict[str, list[Point]]


@router.post("/trainings", summary="Start a training", status_code=202, response_model=Started)
async def train(
    request: Request, form: TrainingForm, project: Annotated[ProjectConfig, Depends(permitted(Action.TRAIN))]
) -> Response:
    """Start model_training: train → evaluate → register as challenger, which starts model_promotion."""
    return await start_run(request, dag_id(project.name, Action.TRAIN), form.model_dump())


@router.post("/retrainings", summary="Retrain the champion", status_code=202, response_model=Started)
async def retrain(
    request: Request, form: RetrainingForm, project: Annotated[ProjectConfig, Depends(permitted(Action.RETRAIN))]
) -> Response:
    """Start model_retraining: ingest → patch → train from the champion → evaluate both → register."""
    return await start_run(request, dag_id(project.name, Action.RETRAIN), form.model_dump())


@router.get("/trainings/form", summary="The project's own values of the training form")
@threaded
def training_form(project: Readable) -> TrainingFormFields:
    """Describe what POST /trainings takes, with the project's values as defaults."""
    from satseg_airflow.dag_params import training

    return TrainingFormFields(fields=[_field(name, param) for name, param in training(project).items()])


@router.get("/trainings", summary="Trainings and retrainings, newest first")
@threaded
def list_trainings(project: Readable, page: PageQuery) -> Page[DagRun]:
    """List the runs of model_training and model_retraining."""
    return page.page(*airflow_state.runs(_dags(project.name), page.limit, page.offset))


@router.get("/trainings/{dag_run_id}", summary="A training as it stands now")
@threaded
def show_training(project: Readable, dag_run_id: RunId) -> Training:
    """Show the tasks, and the metrics that MLflow has heard so far."""
    from satseg.errors import NotFoundError
    from satseg.tracking.runs import find_runs

    for dag in _dags(project.name):
        try:
            found = airflow_state.run(dag, dag_run_id)
        except NotFoundError:
            continue
        tracked = find_runs(workspace(), project.name, {"satseg.dag_run": f"{dag}/{dag_run_id}"})
        return Training(
            dag_run=found,
            tasks=airflow_state.tasks(dag, dag_run_id),
            runs=[_tracked(record) for record in tracked or _trained_before(dag, dag_run_id)],
        )
    raise NotFoundError(f"Project '{project.name}' has no training '{dag_run_id}'.")


@router.get("/runs/{run_id}/metrics", summary="How metrics of a run went")
@threaded
def metrics(project: Readable, run_id: MlflowRunId, name: MetricNames = []) -> MetricHistory:  # noqa: B006
    """Show every value of some metrics of one of the project's runs."""
    from satseg.errors import NotFoundError
    from satseg.tracking.runs import find_runs, get_run, metric_history

    record = get_run(workspace(), run_id)
    if run_id not in {run.id for run in find_runs(workspace(), project.name)}:
        raise NotFoundError(f"Run {run_id} is none of project '{project.name}'.")
    history = metric_history(workspace(), run_id, name or sorted(record.metrics))
    return MetricHistory(
        run_id=run_id, metrics={key: [_point(point) for point in points] for key, points in history.items()}
    )


def _point(logged: Any) -> Point:
    return Point(step=logged.step, value=logged.value if math.isfinite(logged.value) else None, time=logged.time)


def _trained_before(dag: str, dag_run_id: str) -> list[Any]:
    """Return the run that the stage named: one of an earlier DAG run, when the same had been trained already."""
    from satseg.tracking.runs import get_run

    results = (airflow_state.result(dag, dag_run_id, task) for task in ("train", "best"))
    return [get_run(workspace(), named["run_id"]) for named in results if named and named.get("run_id")]


def _dags(project: str) -> list[str]:
    return [dag_id(project, action) for action in (Action.TRAIN, Action.RETRAIN)]


def _field(name: str, param: Any) -> FormField:
    schema = param.schema
    kinds = schema.get("type", "string")
    kind = next((one for one in kinds if one != "null"), "string") if isinstance(kinds, list) else kinds
    return FormField(
        name=name,
        title=schema.get("title", name),
        type=kind,
        default=param.value,
        description=param.description or "",
        minimum=schema.get("minimum", schema.get("exclusiveMinimum")),
        maximum=schema.get("maximum"),
        options=schema.get("enum"),
    )


def _tracked(record: Any) -> TrackedRun:
    from satseg.tracking.runs import metric_history

    epochs = metric_history(workspace(), record.id, [EPOCH_METRIC])[EPOCH_METRIC]
    return TrackedRun(
        run_id=record.id,
        name=record.name,
        status=record.status,
        epoch=epochs[-1].step if epochs else None,
        epochs=int(record.params["epochs"]) if record.params.get("epochs", "").isdigit() else None,
        metrics={name: value for name, value in sorted(record.metrics.items()) if math.isfinite(value)},
        params=record.params,
        started_at=record.started_at,
        ended_at=record.ended_at,
        url=run_page(record.experiment, record.id),
    )
