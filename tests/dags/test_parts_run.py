"""scene_inference of a project that splits large scenes, run by `dag.test`; the stages only say what they are asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from parsed_dags import ROOT

PROJECT = "name: towns\nclasses: [roof]\ninference: {split_mpix: 1}\n"
STAGE = """
import json, os, sys
from pathlib import Path

words = sys.argv[1:]
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps(words + [os.environ.get("SATSEG_LEASE", "").partition(":")[2]]) + "\\n")
value = lambda option: words[words.index(option) + 1]
answer = {"scenes": json.loads(os.environ["SCENES"])}
if "--plan" in words:
    answer = {"scenes": words[1:3], "parts": [[name, f"{n}/2"] for name in words[1:3] if name == "big" for n in (1, 2)]}
Path(value("--result")).write_text(json.dumps({"message": "done"} | answer))
"""
RUN = """
import os, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
from airflow.models.pool import Pool
Pool.create_or_update_pool("gpu", 2, "", False)
dag = DagBag("dags/scene_inference.py").dags["towns.scene_inference"]
os.environ["PYTHONPATH"] = sys.argv[1]
for scenes in (["small", "big"], ["small"], []):
    os.environ["SCENES"] = json.dumps(scenes) if (json := __import__("json")) else ""
    run = dag.test(run_conf={"model": "3"})
    print("STATES", json.dumps({f"{ti.task_id}.{ti.map_index}": str(ti.state) for ti in run.get_task_instances()}))
"""


@pytest.mark.slow
def test_large_scenes_are_predicted_in_parts_and_joined(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    (projects / "towns.yaml").write_text(PROJECT)
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
    both, small, none = (json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("STATES "))
    assert set(both.values()) == {"success"}
    parts = [words for words in asked if "--part" in words]
    assert sorted(words[:6] for words in parts) == [
        ["predict", "big", "--part", share, "--model", "3"] for share in ("1/2", "2/2")
    ]
    assert all(words[-1].startswith("gpu-") for words in parts)
    joined = [words for words in asked if words[0] == "predict" and not {"--plan", "--part"} & set(words)]
    assert [words[1:3] for words in joined] == [["small", "big"], ["small", "--model"]]
    assert asked.index(joined[0]) > max(asked.index(words) for words in parts)
    assert small["predict.0"] == "success"
    assert small["predict_part.-1"] == none["predict.-1"] == "skipped"
