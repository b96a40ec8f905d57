"""What every DAG and every task of satseg has: owner, retries, time-out, notifier, tags, template functions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from satseg.config.project import ProjectConfig
from satseg_airflow.assets import chosen_version, model_label
from satseg_airflow.notifier import FailureNotifier

START = datetime(2025, 1, 1, tzinfo=UTC)


def default_args() -> dict[str, Any]:
    """Return the defaults of every task; a stage brings its own time-out."""
    return {
        "owner": "satseg",
        "retries": 2,
        "retry_delay": timedelta(seconds=15),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=10),
        "on_failure_callback": [FailureNotifier()],
    }


def project_dag(
    project: ProjectConfig, name: str, doc: str | None, templates: dict[str, Any] | None = None, **more: Any
) -> DAG:
    """Return the DAG `<project>.<name>`; `templates` are further template functions, `more` arguments of `DAG`."""
    doc = doc or ""
    settings: dict[str, Any] = {
        "start_date": START,
        "schedule": None,
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["satseg", project.name],
        "default_args": default_args(),
        "description": doc.partition("\n")[0],
        "doc_md": doc,
        "user_defined_macros": {"chosen_version": chosen_version, "model_label": model_label, **(templates or {})},
    }
    return DAG(dag_id=f"{project.name}.{name}", **(settings | more))
