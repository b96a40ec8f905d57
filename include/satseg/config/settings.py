"""Where satseg runs: paths and services, from `SATSEG_*` environment variables and `.env`.

Nothing else in satseg reads the environment.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from satseg.errors import ConfigurationError


class Settings(BaseSettings):
    """The machine's side of the configuration; the map product's side is `ProjectConfig`."""

    model_config = SettingsConfigDict(env_prefix="SATSEG_", env_file=".env", extra="ignore")

    workspace: Path = Field(Path("workspace"), description="Folder that holds everything satseg makes.")
    projects_dir: Path = Field(Path("include/projects"), description="Folder of project files, one per map product.")
    project: str | None = Field(None, description="Project used when --project is not given.")
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: a SQLite file in the workspace.")
    dvc_remote: str | None = Field(None, description="DVC remote (folder or URL) that dataset versions are pushed to.")
    runner: Literal["subprocess"] = Field("subprocess", description="How the Airflow stage operator runs a stage.")
    gpu_count: int = Field(0, ge=0, description="GPUs of this machine; the Airflow pool `gpu` has max(1, this) slots.")
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
