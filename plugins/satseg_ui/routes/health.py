"""How the system is: components, disk, queue, devices, and the last good run of each DAG."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from satseg_ui import airflow_state
from satseg_ui.project_files import all_projects, workspace
from satseg_ui.rights import DAGS, User, may_read
from satseg_ui.work import threaded

router = APIRouter(tags=["health"])
FULL = 0.95  # of the disk: a training run needs room for its checkpoints
Status = Literal["ok", "bad", "unknown"]


class Component(BaseModel):
    """A part of the system."""

    name: str = Field(examples=["scheduler"])
    status: Status = Field(examples=["ok"])
    detail: str | None = Field(None, description="What is wrong.")
    heartbeat: datetime | None = Field(None, description="Its last sign of life.")


class Disk(BaseModel):
    """The disk of the workspace."""

    free_bytes: int = Field(examples=[52_000_000_000])
    total_bytes: int = Field(examples=[100_000_000_000])
    used_fraction: float = Field(examples=[0.48])
    status: Status = Field(examples=["ok"])


class Pool(BaseModel):
    """A pool of Airflow: how many of its tasks run at once."""

    name: str = Field(examples=["gpu"])
    slots: int = Field(examples=[1])
    running: int = Field(examples=[1])
    queued: int = Field(examples=[0])


class Queue(BaseModel):
    """Tasks of satseg's DAGs that have not ended."""

    queued: int
    scheduled: int
    running: int
    deferred: int
    pools: list[Pool]


class DeviceState(BaseModel):
    """A GPU or CPU slot of this machine."""

    name: str = Field(examples=["cpu-0"])
    kind: Literal["gpu", "cpu"] = Field(examples=["cpu"])
    leased: bool = Field(description="Whether a task works on it now.")


class LastRun(BaseModel):
    """The end of a DAG's newest run."""

    dag_run_id: str
    state: str
    ended_at: datetime | None


class DagState(BaseModel):
    """A DAG of a project."""

    dag_id: str = Field(examples=["buildings.model_training"])
    project: str = Field(examples=["buildings"])
    stage_dag: str = Field(examples=["model_training"])
    paused: bool | None = Field(description="Null: Airflow does not know this DAG.")
    last_success: datetime | None
    last_run: LastRun | None


class Health(BaseModel):
    """The state of the system."""

    status: Literal["ok", "degraded"]
    components: list[Component]
    disk: Disk
    queue: Queue
    devices: list[DeviceState]
    dags: list[DagState]


@router.get("/health", summary="Components, disk, queue, devices, last good run of each DAG")
@threaded
def health(user: User) -> Health:
    """Answer 200 also when something is bad; `status` says so."""
    names = [name for name in all_projects() if may_read(user, name)]
    dag_ids = [f"{name}.{dag}" for name in names for dag in DAGS]
    components, disk = [*_airflow(), _mlflow(), _projects()], _disk(workspace().root)
    good = disk.status == "ok" and all(component.status == "ok" for component in components)
    return Health(
        status="ok" if good else "degraded",
        components=components,
        disk=disk,
        queue=Queue(**airflow_state.task_counts(dag_ids), pools=_pools()),
        devices=_devices(),
        dags=_dags(dag_ids),
    )


def _airflow() -> list[Component]:
    from airflow.api.common.airflow_health import get_airflow_health

    return [_component(name, about) for name, about in get_airflow_health().items()]


def _component(name: str, about: dict[str, Any]) -> Component:
    said, heartbeat = about["status"], about.get(f"latest_{name}_heartbeat")
    status: Status = "unknown" if said is None else "ok" if said == "healthy" else "bad"
    detail = {"ok": None, "bad": "No sign of life: see its log.", "unknown": "It was never started."}[status]
    return Component(name=name, status=status, detail=detail, heartbeat=heartbeat)


def _mlflow() -> Component:
    from satseg.tracking.connection import why_unreachable

    trouble = why_unreachable(workspace())
    return Component(name="mlflow", status="bad" if trouble else "ok", detail=trouble)


def _projects() -> Component:
    broken = [f"{name}: {words}" for name, words in all_projects().items() if isinstance(words, str)]
    return Component(name="projects", status="bad" if broken else "ok", detail="; ".join(broken) or None)


def _disk(folder: Path) -> Disk:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    used = 1 - usage.free / usage.total
    return Disk(
        free_bytes=usage.free, total_bytes=usage.total, used_fraction=used, status="bad" if used > FULL else "ok"
    )


def _pools() -> list[Pool]:
    from airflow.models.pool import Pool as PoolRow

    return [
        Pool(name=name, slots=int(about["total"]), running=about["running"], queued=about["queued"])
        for name, about in sorted(PoolRow.slots_stats().items())
        if about["total"] != float("inf")
    ]


def _devices() -> list[DeviceState]:
    from satseg.storage.devices import devices
    from satseg.storage.leases import is_leased

    return [DeviceState(name=one.name, kind=one.kind, leased=is_leased(workspace(), one)) for one in devices()]


def _dags(dag_ids: list[str]) -> list[DagState]:
    last, good, paused = (
        asked(dag_ids) for asked in (airflow_state.last_runs, airflow_state.last_successes, airflow_state.paused)
    )
    found = []
    for dag_id in dag_ids:
        project, _, dag = dag_id.partition(".")
        run = last.get(dag_id)
        found.append(
            DagState(
                dag_id=dag_id,
                project=project,
                stage_dag=dag,
                paused=paused.get(dag_id),
                last_success=good.get(dag_id),
                last_run=LastRun(dag_run_id=run.dag_run_id, state=run.state, ended_at=run.ended_at) if run else None,
            )
        )
    return found
