"""How stages run in containers: the `SATSEG_DOCKER_*` settings."""

from importlib.metadata import version
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_settings import BaseSettings

Size = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*[bkmgBKMG]$")]


class StageLimits(BaseModel):
    """What the container of one stage gets instead of what all get."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str | None = Field(None, description="Image.")
    memory: Size | None = Field(None, description="Memory limit, such as 16g.")
    cpus: float | None = Field(None, gt=0, description="Processors it may use.")


class ContainerSettings(BaseSettings):
    """Read when `SATSEG_RUNNER` is docker."""

    docker_url: str = Field("unix:///var/run/docker.sock", description="Address of the Docker engine, or of its proxy.")
    docker_image: str = Field(
        default_factory=lambda: f"satseg/satseg:{version('satseg')}", description="Image that stages run in."
    )
    docker_gpu_image: str = Field(
        default_factory=lambda: f"satseg/satseg-gpu:{version('satseg')}", description="Image of stages that get a GPU."
    )
    docker_conn_id: str | None = Field(None, description="Airflow connection with the registry's login.")
    docker_stages: dict[str, StageLimits] = Field(
        {}, description='What differs by stage, as JSON: {"train": {"memory": "16g", "cpus": 8, "image": "…"}}.'
    )
    docker_memory: Size | None = Field(None, description="Memory limit of a stage's container; default: none.")
    docker_cpus: float | None = Field(None, gt=0, description="Processors a stage's container may use; default: all.")
    docker_shm: Size = Field("1g", description="Size of /dev/shm, which several GPUs exchange gradients through.")
    docker_user: str | None = Field(
        None,
        pattern=r"^\d+:\d+$",
        description="uid:gid in the containers; default: the Airflow worker's. A rootless engine wants 0:0.",
    )
    docker_network: str | None = Field(None, description="Network of the containers; default: the engine's bridge.")
    docker_workspace: str | None = Field(
        None, description="Folder of the engine's machine, or volume, that is the workspace; default: the same path."
    )
    docker_projects: str | None = Field(
        None, description="The same for the project files. In the image already when Airflow runs in a container."
    )
    docker_mounts: str = Field("", description="Further folders, separated by commas: SOURCE:TARGET[:ro].")
    docker_environment: str = Field("", description="Names of further variables to hand on, separated by commas.")
