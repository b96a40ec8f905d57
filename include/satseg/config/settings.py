"""Where satseg runs: paths and services, from `SATSEG_*` environment variables and `.env`.

Nothing else in satseg reads the environment.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from satseg.config.containers import ContainerSettings
from satseg.errors import ConfigurationError


class Settings(ContainerSettings):
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
    runner: Literal["subprocess", "docker"] = Field(
        "subprocess", description="How the Airflow stage operator runs a stage: a process, or a Docker container."
    )
    code_commit: str | None = Field(None, description="Commit the code was built from, where there is no git (images).")
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
    serving_python: Path | None = Field(
        None, description="Python of the environment that serves models; promotion tries them there. Default: this one."
    )
    serve_host: str = Field("127.0.0.1", description="Address the service listens on; without keys loopback only.")
    serve_port: int = Field(8600, ge=0, le=65535, description="Port of the service; 0 takes a free one.")
    serve_keys: SecretStr | None = Field(
        None, description="API keys of the service, separated by commas, each of at least 16 characters."
    )
    serve_engine: Literal["auto", "tf", "onnx", "litert", "litert_int8"] = Field(
        "auto", description="What runs the champion; auto: the fastest export that passed its parity, else TensorFlow."
    )
    serve_threads: int | None = Field(None, ge=1, description="Processor threads of a model call; default: all.")
    serve_tile_px: int = Field(512, ge=64, multiple_of=32, description="Larger images are predicted in such tiles.")
    serve_batch_tiles: int = Field(8, ge=1, description="Most tiles of waiting requests in one model call.")
    serve_max_waiting: int = Field(32, ge=1, description="Requests held at once; one more is answered with 429.")
    serve_max_body_mib: float = Field(64.0, gt=0, description="Largest request body.")
    serve_max_mpix: float = Field(25.0, gt=0, description="Largest image, read from its header before it is decoded.")
    serve_body_timeout_s: float = Field(30.0, gt=0, description="Time a client has to send headers, and the body.")
    serve_drain_s: float = Field(30.0, gt=0, description="Time that requests under way have when the service stops.")
    serve_watch_s: float = Field(5.0, gt=0, description="How often the service asks which version is champion.")
    serve_log_days: int = Field(30, ge=1, description="Days of request profiles that are kept.")
    serve_log_mib_per_day: float = Field(64.0, gt=0, description="Request profiles of a day, at most.")
    upload_scene_mib: float = Field(8192.0, gt=0, description="Largest scene file that Airflow's server takes.")
    upload_label_mib: float = Field(
        256.0, gt=0, description="Largest label file or companion of a scene that it takes."
    )
    dag_run: str | None = Field(None, description="Set by the stage operator: 'DAG/run' that a stage works for.")
    alert_webhook: str | None = Field(
        None, description="URL that gets a JSON POST when a task fails or drift is found."
    )
    alert_email: str | None = Field(None, description="Address that gets a mail when drift is confirmed.")
    smtp_url: str = Field(
        "smtp://localhost:25",
        pattern=r"^smtps?://",
        description="Mail server of alert_email: smtp[s]://[user:password@]host[:port].",
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        ConfigurationError: a variable has a value of the wrong type; the message names it.
    """
    try:
        return Settings()
    except SettingsError as error:
        raise ConfigurationError(
            f"Environment: {error}: {error.__cause__}. It must be JSON, such as .env.example shows."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        name = f"SATSEG_{first['loc'][0]}".upper() + "".join(f" {part}" for part in first["loc"][1:])
        raise ConfigurationError(
            f"Environment variable {name}: {first['msg']} (value {first['input']!r}). "
            "Correct it in the environment or in .env; .env.example lists the variables."
        ) from error
