"""Projects, where each stands in its loop, and the runs of its DAGs."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from satseg.config.project import ProjectConfig
from satseg_ui import airflow_state
from satseg_ui.airflow_state import DagRun, Task
from satseg_ui.mlflow_pages import model_page
from satseg_ui.paging import Page, PageQuery
from satseg_ui.products import products
from satseg_ui.project_files import all_projects
from satseg_ui.rights import DAGS, Readable, User, may_read
from satseg_ui.work import threaded

router = APIRouter(tags=["projects"])
DagName = Literal[
    "scene_ingestion", "patch_generation", "model_training", "model_registration", "model_promotion", "scene_inference",
    "drift_detection", "model_retraining",
]  # fmt: skip
RunId = Annotated[str, Path(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f]+$", examples=["manual__1"])]
STAGES = {
    "ingest": "scene_ingestion",
    "patch": "patch_generation",
    "train": "model_training",
    "promote": "model_promotion",
    "predict": "scene_inference",
    "drift": "drift_detection",
    "retrain": "model_retraining",
}


class ProjectRow(BaseModel):
    """A project in a list."""

    name: str = Field(examples=["buildings"])
    description: str
    classes: list[str] = Field(examples=[["building"]])
    approval: str | None = Field(description="Who promotes: auto, unsure or manual.", examples=["auto"])
    broken: str | None = Field(description="What is wrong in its file.")


class ProjectDetail(ProjectRow):
    """A project and its file."""

    dags: list[str] = Field(examples=[["buildings.scene_ingestion"]])
    config: dict[str, Any] = Field(description="The project file, with every default.")
    mlflow_url: str | None = Field(description="The registered model's page, where MLflow is a server.")


class StageState(BaseModel):
    """A step of the loop."""

    stage: str = Field(examples=["train"])
    dag_id: str = Field(examples=["buildings.model_training"])
    state: Literal["never", "queued", "running", "success", "failed", "waiting"] = Field(
        description="Of its newest run; waiting: a person has to decide.", examples=["success"]
    )
    last_run: DagRun | None
    paused: bool | None = Field(description="Null: Airflow does not know this DAG.")
    product: str | None = Field(description="The newest thing it made.", examples=["v3"])


class Loop(BaseModel):
    """The stages in the order of the data."""

    stages: list[StageState]


class DagRunDetail(DagRun):
    """A run with its tasks."""

    tasks: list[Task]


@router.get("/projects", summary="Projects that the user may see, by name")
@threaded
def list_projects(user: User, page: PageQuery) -> Page[ProjectRow]:
    """List the map products; one with a wrong file is listed with what is wrong."""
    visible = [(name, found) for name, found in all_projects().items() if may_read(user, name)]
    return page.of(visible, lambda pair: _row(*pair))


@router.get("/projects/{project}", summary="A project and its file")
@threaded
def show_project(project: Readable) -> ProjectDetail:
    """Show all that is set for a project."""
    return ProjectDetail(
        **_row(project.name, project).model_dump(),
        dags=[f"{project.name}.{dag}" for dag in DAGS],
        config=project.model_dump(mode="json"),
        mlflow_url=model_page(project.name),
    )


@router.get("/projects/{project}/loop", summary="Where the project stands, stage by stage")
@threaded
def loop(project: Readable) -> Loop:
    """Show the newest run and the newest product of each stage."""
    dag_of = {stage: f"{project.name}.{dag}" for stage, dag in STAGES.items()}
    last, paused = airflow_state.last_runs(list(dag_of.values())), airflow_state.paused(list(dag_of.values()))
    asked, made = airflow_state.waiting_answers([dag_of["promote"]]), products(project.name)
    stages = [
        StageState(
            stage=stage,
            dag_id=dag_id,
            state="waiting" if stage == "promote" and asked else _state(last.get(dag_id)),
            last_run=last.get(dag_id),
            paused=paused.get(dag_id),
            product=made.get(stage),
        )
        for stage, dag_id in dag_of.items()
    ]
    return Loop(stages=stages)


@router.get("/projects/{project}/dag-runs", summary="Runs of the project's DAGs, newest first", tags=["runs"])
@threaded
def list_dag_runs(
    project: Readable, page: PageQuery, dag: Annotated[DagName | None, Query(description="Only of this DAG.")] = None
) -> Page[DagRun]:
    """List what was started, by whom, and how it ended."""
    names = [dag] if dag else DAGS
    return page.page(*airflow_state.runs([f"{project.name}.{name}" for name in names], page.limit, page.offset))


@router.get("/projects/{project}/dag-runs/{dag_id}/{dag_run_id}", summary="A run with its tasks", tags=["runs"])
@threaded
def show_dag_run(
    project: Readable, dag_id: Annotated[str, Path(examples=["buildings.model_training"])], dag_run_id: RunId
) -> DagRunDetail:
    """Show one run of a DAG of this project; the DAG's name may stand without the project's."""
    name = dag_id.removeprefix(f"{project.name}.")
    dag = f"{project.name}.{name if name in DAGS else ''}"
    found = airflow_state.run(dag, dag_run_id)
    return DagRunDetail(**found.model_dump(), tasks=airflow_state.tasks(dag, dag_run_id))


def _row(name: str, found: ProjectConfig | str) -> ProjectRow:
    if isinstance(found, str):
        return ProjectRow(name=name, description="", classes=[], approval=None, broken=found)
    approval = found.promotion.approval
    return ProjectRow(
        name=name, description=found.description, classes=list(found.classes), approval=approval, broken=None
    )


def _state(run: DagRun | None) -> Any:
    return "never" if run is None else run.state
