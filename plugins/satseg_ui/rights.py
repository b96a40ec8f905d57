"""Who may do what: as Airflow says it of the DAG behind each action."""

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AssetDetails, DagAccessEntity, DagDetails
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends, Path, Request

from satseg.config.project import ProjectConfig
from satseg_ui.gate import USER
from satseg_ui.problems import Refusal
from satseg_ui.project_files import known_project
from satseg_ui.work import in_thread

DAGS = (
    "scene_ingestion", "patch_generation", "model_training", "model_registration", "model_promotion", "scene_inference",
    "drift_detection", "model_retraining",
)  # fmt: skip
ProjectName = Annotated[
    str, Path(description="Name of the project.", pattern=r"^[a-z][a-z0-9_-]{0,62}$", examples=["buildings"])
]


class Action(StrEnum):
    """What a user can start."""

    UPLOAD = "upload"
    INGEST = "ingest"
    PATCH = "patch"
    TRAIN = "train"
    PREDICT = "predict"
    DRIFT = "drift"
    RETRAIN = "retrain"
    REGISTER = "register"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    APPROVE = "approve"


DAG_OF = {
    Action.UPLOAD: "scene_ingestion",
    Action.INGEST: "scene_ingestion",
    Action.PATCH: "patch_generation",
    Action.TRAIN: "model_training",
    Action.PREDICT: "scene_inference",
    Action.DRIFT: "drift_detection",
    Action.RETRAIN: "model_retraining",
    Action.REGISTER: "model_registration",
    Action.PROMOTE: "model_promotion",
    Action.ROLLBACK: "model_promotion",
    Action.APPROVE: "model_promotion",
}
# they decide which model makes the maps: beside the DAG, the right to write assets, which operators have and users not
OF_OPERATORS = {Action.PROMOTE, Action.ROLLBACK, Action.APPROVE}


def dag_id(project: str, action: Action) -> str:
    """Return the DAG that an action starts."""
    return f"{project}.{DAG_OF[action]}"


def current_user(request: Request) -> Any:
    """Return who is logged in; the gate has found out."""
    return getattr(request.state, USER)


User = Annotated[Any, Depends(current_user)]


def may_read(user: Any, project: str) -> bool:
    """Whether somebody may see a project: its first DAG."""
    return _of_dag("GET", None, f"{project}.{DAGS[0]}", user)


def may(user: Any, project: str, action: Action) -> bool:
    """Whether somebody may start an action of a project."""
    entity = DagAccessEntity.HITL_DETAIL if action is Action.APPROVE else DagAccessEntity.RUN
    allowed = _of_dag("PUT" if action is Action.APPROVE else "POST", entity, dag_id(project, action), user)
    if allowed and action in OF_OPERATORS:
        return bool(get_auth_manager().is_authorized_asset(method="POST", details=AssetDetails(), user=user))
    return allowed


@cache
def _several_teams() -> bool:
    return bool(conf.getboolean("core", "multi_team"))


def _of_dag(method: Any, entity: DagAccessEntity | None, dag: str, user: Any) -> bool:
    team = DagModel.get_team_name(dag) if _several_teams() else None
    details = DagDetails(id=dag, team_name=team)
    manager = get_auth_manager()
    return bool(manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user))


def _checked_read(user: Any, project: str) -> ProjectConfig:
    if not may_read(user, project):
        raise Refusal(HTTPStatus.FORBIDDEN, f"You may not see project '{project}'.")
    return known_project(project)


def _checked_write(user: Any, project: str, action: Action) -> ProjectConfig:
    if not may(user, project, action):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"You may not {action} in project '{project}': that needs the right to run the DAG "
            f"{dag_id(project, action)}{' and to write assets' if action in OF_OPERATORS else ''} in Airflow.",
        )
    return known_project(project)


async def _readable(project: ProjectName, user: User) -> ProjectConfig:
    return await in_thread(_checked_read, user, project)


def permitted(action: Action) -> Callable[..., Any]:
    """Return the dependency that gives the project to whoever may start an action of it."""

    async def check(project: ProjectName, user: User) -> ProjectConfig:
        return await in_thread(_checked_write, user, project, action)

    check.action = action  # type: ignore[attr-defined] - what the description of the route names
    return check


Readable = Annotated[ProjectConfig, Depends(_readable)]
