"""Runs DAGs by `dag.test` in a process of their own, on stages that only say what they are asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

from parsed_dags import ROOT

PROLOGUE = """
import os, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
from airflow.models.pool import Pool
Pool.create_or_update_pool("gpu", 2, "", False)
"""


def run_dags(tmp_path: Path, projects: dict[str, str], stage: str, code: str) -> tuple[list[list[str]], str]:
    """Run Python code that tests DAGs; returns the words of each stage that was asked, and what the code printed.

    Args:
        tmp_path: Of the test.
        projects: Project files by name.
        stage: Content of `satseg/__main__.py`; appends its words as a JSON list to the file $ASKED.
        code: Runs after PROLOGUE; has to put `sys.argv[1]`, where that satseg is, first on PYTHONPATH of the stages.
    """
    (tmp_path / "projects").mkdir()
    for name, yaml in projects.items():
        (tmp_path / "projects" / f"{name}.yaml").write_text(yaml)
    fake = tmp_path / "fake" / "satseg"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(stage)
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only for this test, never anywhere else",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "SATSEG_PROJECTS_DIR": str(tmp_path / "projects"),
        "SATSEG_WORKSPACE": str(tmp_path / "workspace"),
        "SATSEG_GPU_COUNT": "2",
        "PYTHONPATH": str(ROOT / "include"),
        "ASKED": str(tmp_path / "asked"),
    }
    (tmp_path / "airflow").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + code, str(fake.parent)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()], done.stdout
