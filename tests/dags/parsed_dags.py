"""Airflow parses the DAG files in a process of its own, as its DAG processor does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DESCRIBE = """
import json, os, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

bag = DagBag("dags")
timeout = lambda task: task.execution_timeout or getattr(task, "response_timeout", None)
json.dump({
    "import_errors": bag.import_errors,
    "seconds": {stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats},
    "modules": sorted(sys.modules),
    "dags": {
        dag.dag_id: {
            "serialized": bool(DagSerialization.to_dict(dag)),
            "tags": sorted(dag.tags), "catchup": dag.catchup, "doc": dag.doc_md, "max_active_runs": dag.max_active_runs,
            "schedule": type(dag.timetable).__name__, "params": dag.params.dump(),
            "schemas": {name: dag.params.get_param(name).schema for name in dag.params},
            "descriptions": {name: dag.params.get_param(name).description for name in dag.params},
            "tasks": {
                task.task_id: {
                    "owner": task.owner, "retries": task.retries, "doc": task.doc_md, "pool": task.pool,
                    "slots": task.pool_slots, "queue": task.queue,
                    "timeout_s": timeout(task).total_seconds() if timeout(task) else None,
                    "callback": bool(task.on_failure_callback), "mapped": bool(task.is_mapped),
                    "downstream": sorted(task.downstream_task_ids), "trigger_rule": str(task.trigger_rule),
                    "outlets": [asset.name for asset in task.outlets],
                } for task in dag.tasks
            },
        } for dag in bag.dags.values()
    },
}, open(sys.argv[1], "w"), default=str)
"""


def describe(home: Path, projects_dir: Path = ROOT / "include" / "projects") -> dict[str, Any]:
    """Return what Airflow sees in dags/ with the project files of a folder."""
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "SATSEG_PROJECTS_DIR": str(projects_dir),
        "PYTHONPATH": str(ROOT / "include"),
    }
    subprocess.run(
        [sys.executable, "-c", DESCRIBE, str(home / "seen.json")],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    seen: dict[str, Any] = json.loads((home / "seen.json").read_text())
    return seen
