"""model_training of a project with a search space, run by `dag.test`; the stages only say what they were asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from parsed_dags import ROOT

PROJECT = (
    "name: trees\nclasses: [tree]\n"
    "search: {trials: 3, space: {training.learning_rate: {low: 0.0001, high: 0.01, log: true}}}\n"
)
STAGE = """
import json, os, signal, sys
from pathlib import Path

words = sys.argv[1:]
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps(words + [os.environ.get("SATSEG_LEASE", "").partition(":")[2]]) + "\\n")
value = lambda option: words[words.index(option) + 1]
step = words[0] if words[0] != "tune" else value("--step")
if step == "trial" and value("--trial") == "1":
    os.kill(os.getpid(), signal.SIGKILL)
answers = {
    "plan": {"study": "abc", "patch_set": "0123456789ab", "trials": 3, "parent_run": "parent"},
    "trial": {"state": "complete"},
    "best": {"run_id": "run-2", "patch_set": "0123456789ab"},
    "evaluate": {"iou": 0.5},
    "register": {"version": "1", "decision": "registered"},
}
Path(value("--result")).write_text(json.dumps({"message": step} | answers[step]))
"""
RUN = """
import os, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
from airflow.models.pool import Pool
Pool.create_or_update_pool("gpu", 2, "", False)
bag = DagBag("dags/model_training.py")
dag = bag.dags["trees.model_training"]
for task in dag.tasks:
    if task.is_mapped:
        task.partial_kwargs["retries"] = 0
    else:
        task.retries = 0
os.environ["PYTHONPATH"] = sys.argv[1]
run = dag.test(run_conf={"epochs": 7})
print("STATES", {f"{ti.task_id}.{ti.map_index}": str(ti.state) for ti in run.get_task_instances()})
"""


@pytest.mark.slow
def test_trials_run_side_by_side_and_a_dead_one_does_not_keep_the_best_from_going_on(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    (projects / "trees.yaml").write_text(PROJECT)
    fake = tmp_path / "fake" / "satseg"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(STAGE)
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only for this test, never anywhere else",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "SATSEG_PROJECTS_DIR": str(projects),
        "SATSEG_WORKSPACE": str(tmp_path / "workspace"),
        "SATSEG_GPU_COUNT": "2",
        "PYTHONPATH": str(ROOT / "include"),
        "ASKED": str(tmp_path / "asked"),
    }
    (tmp_path / "airflow").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(fake.parent)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    steps = {" ".join(words[:5]): words for words in asked}
    assert "training.epochs=7" in steps["tune --step plan --trials 3"]
    trials = [words for words in asked if "--trial" in words]
    assert sorted(words[words.index("--trial") + 1] for words in trials) == ["0", "1", "2"]
    assert all(words[1:5] == ["--step", "trial", "--study", "abc"] for words in trials)
    assert all(words[-1].startswith("gpu-") for words in trials)
    assert steps["tune --step best --study abc"][-1] == ""
    assert steps["evaluate run-2 --patch-set 0123456789ab --project"]
    states = next(line for line in done.stdout.splitlines() if line.startswith("STATES"))
    assert "'trial.1': 'failed'" in states
    assert "'publish_challenger.-1': 'success'" in states
