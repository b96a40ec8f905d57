"""Where satseg runs: paths and services, from `SATSEG_*` environment variables and `.env`.

Nothing else in satseg reads the environment.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from satseg.errors import ConfigurationError


class Settings(BaseSettings):
    """The machine's side of the configuration; the map product's side is `ProjectConfig`."""

    model_config = SettingsConfigDict(env_prefix="SATSEG_", env_file=".env", env_ignore_empty=True, extra="ignore")

    workspace: Path = Field(Path("workspace"), description="Folder that holds everything satseg makes.")
    projects_dir: Path = Field(Path("include/projects"), description="Folder of project files, one per map product.")
    project: str | None = Field(None, description="Project used when --project is not given.")
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: a SQLite file in the workspace.")
    dvc_remote: str | None = Field(
        None, description="DVC remote that dataset versions are pushed to: a folder, or s3://bucket/path."
    )
    dvc_endpoint_url: str | None = Field(
        None, description="Address of the S3 service when it is not Amazon's, e.g. MinIO. Keys: AWS_ACCESS_KEY_ID, …"
    )
    ingest_time: AwareDatetime | None = Field(
        None, description="Time of ingest to write instead of now, so that an ingest can be repeated bit for bit."
    )
    runner: Literal["subprocess"] = Field("subprocess", description="How the Airflow stage operator runs a stage.")
    gpu_count: int | None = Field(
        None, ge=0, description="GPUs of this machine that stages may use; default: all the NVIDIA driver reports."
    )
    cpu_slots: int = Field(1, ge=1, description="GPU stages that Airflow runs side by side on a machine without GPUs.")
    lease_dir: Path | None = Field(
        None, description="Folder of the device leases; default: the workspace's locks. Share it among workspaces."
    )
    lease: str | None = Field(None, description="Set by the stage operator: the lease a stage works under.")
    mlflow_patience_minutes: float = Field(
        5.0, ge=0, description="How long a training tries again when MLflow does not answer, before it exits with 75."
    )
    alert_webhook: str | None = Field(
        None, description="URL that gets a JSON POST when a task fails or drift is found."
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        ConfigurationError: a variable has a value of the wrong type; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "SATSEG_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(
            f"Environment variable {name}: {first['msg']} (value {first['input']!r}). "
            "Correct it in the environment or in .env; .env.example lists the variables."
        ) from error
