"""What the container of a stage sees: folders, variables, user, limits and devices. Pure logic, no engine."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from docker.types import DeviceRequest, Mount
from docker.utils import parse_bytes

from satseg.config.containers import StageLimits
from satseg.config.settings import Settings
from satseg.errors import ConfigurationError
from satseg.stages import STAGES
from satseg.storage.layout import Workspace
from satseg_airflow.runners import Job

# settings that are Airflow's business, or paths and counts that differ in a container
_KEPT_BACK = ("docker_", "serve_", "serving_", "alert_", "smtp_", "runner", "code_commit", "lease", "gpu_count")
_HANDED_ON = ("MLFLOW_", "AWS_", "DVC_", "GDAL_", "TF_", "OMP_", "NCCL_")
_PROXIES = {"http_proxy", "https_proxy", "no_proxy"}
_PATHS = ("_BUNDLE", "_FILE", "_PATH", "_DIR", "_PYTHON")  # of this machine, not of the container


@dataclass(frozen=True)
class Place:
    """Where and how a stage runs in a container."""

    image: str
    mounts: list[Mount]
    environment: dict[str, str]
    user: str
    memory_bytes: int | None
    cpus: float | None
    shm_bytes: int
    devices: list[DeviceRequest]


def place_of(job: Job, where: Settings) -> Place:
    """Return the place of a stage.

    Raises:
        ConfigurationError: a SATSEG_DOCKER_* setting names an unknown stage or a folder that is none.
    """
    limits = _limits(job.stage, where)
    gpus = job.lease.docker_device_ids if job.lease else []
    memory = limits.memory or where.docker_memory
    return Place(
        image=limits.image or (where.docker_gpu_image if gpus else where.docker_image),
        mounts=_mounts(where),
        environment=_environment(job, where),
        user=where.docker_user or f"{os.getuid()}:{os.getgid()}",
        memory_bytes=parse_bytes(memory) if memory else None,
        cpus=limits.cpus or where.docker_cpus,
        shm_bytes=parse_bytes(where.docker_shm),
        devices=[DeviceRequest(device_ids=gpus, capabilities=[["gpu"]])] if gpus else [],
    )


def workspace_source(where: Settings) -> str:
    """Return what the engine mounts as the workspace: a folder of its machine or a volume."""
    return where.docker_workspace or str(Workspace(where.workspace).root)


def _limits(stage: str, where: Settings) -> StageLimits:
    for name in where.docker_stages:
        if name not in STAGES:
            near = get_close_matches(name, STAGES, 1)
            hint = f" Did you mean '{near[0]}'?" if near else f" There are {', '.join(STAGES)}."
            raise ConfigurationError(f"SATSEG_DOCKER_STAGES names stage '{name}', which does not exist.{hint}")
    return where.docker_stages.get(stage, StageLimits())


def _mounts(where: Settings) -> list[Mount]:
    workspace = Workspace(where.workspace)
    mounts = [_mount(workspace_source(where), str(workspace.root))]
    if workspace.airflow.is_dir():  # Airflow's database and secrets are none of a stage's business
        mounts.append(Mount(str(workspace.airflow), None, type="tmpfs"))
    projects = where.projects_dir.resolve()
    if source := where.docker_projects or (None if where.docker_workspace else str(projects)):
        mounts.append(_mount(source, str(projects), read_only=True))
    if not where.docker_workspace:
        # a remote in a folder, and leases shared among workspaces: at the path they have here
        folders = [Path(where.dvc_remote)] if where.dvc_remote and "://" not in where.dvc_remote else []
        folders += [where.lease_dir] if where.lease_dir else []
        for folder in {folder.resolve() for folder in folders}:
            folder.mkdir(parents=True, exist_ok=True)
            mounts.append(_mount(str(folder), str(folder)))
    return mounts + [_asked(words) for words in filter(None, map(str.strip, where.docker_mounts.split(",")))]


def _asked(words: str) -> Mount:
    source, _, rest = words.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target.startswith("/") or mode not in {"", "ro", "rw"}:
        raise ConfigurationError(
            f"SATSEG_DOCKER_MOUNTS has '{words}'. It must be SOURCE:TARGET or SOURCE:TARGET:ro with a full target path."
        )
    return _mount(source, target, read_only=mode == "ro")


def _mount(source: str, target: str, read_only: bool = False) -> Mount:
    return Mount(target, source, type="bind" if source.startswith("/") else "volume", read_only=read_only)


def _environment(job: Job, where: Settings) -> dict[str, str]:
    given = where.model_dump(mode="json", include=where.model_fields_set)
    settings = {
        f"SATSEG_{name}".upper(): str(value)
        for name, value in given.items()
        if value is not None and not name.startswith(_KEPT_BACK)
    }
    asked = {name.strip() for name in where.docker_environment.split(",")}
    handed = {
        name: value
        for name, value in os.environ.items()
        if name in asked or name.lower() in _PROXIES or (name.startswith(_HANDED_ON) and not name.endswith(_PATHS))
    }
    lease = job.lease.environment() if job.lease else {}
    if job.lease and job.lease.docker_device_ids:
        lease.pop("CUDA_VISIBLE_DEVICES")  # the engine shows the leased ones only, numbered from 0
    scratch = str(job.scratch)
    return handed | settings | lease | job.task.environment() | {
        "SATSEG_WORKSPACE": str(Workspace(where.workspace).root),
        "SATSEG_PROJECTS_DIR": str(where.projects_dir.resolve()),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": scratch,
        "HOME": scratch,
        "LOGNAME": "satseg",  # the user need not be in the image's passwd file
    }  # fmt: skip
