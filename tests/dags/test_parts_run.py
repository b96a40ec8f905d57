"""scene_inference of a project that splits large scenes, run by `dag.test`; the stages only say what they are asked."""

import json
from pathlib import Path

import pytest
from dag_process import run_dags

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
dag = DagBag("dags/scene_inference.py").dags["towns.scene_inference"]
os.environ["PYTHONPATH"] = sys.argv[1]
for scenes in (["small", "big"], ["small"], []):
    os.environ["SCENES"] = json.dumps(scenes) if (json := __import__("json")) else ""
    run = dag.test(run_conf={"model": "3"})
    print("STATES", json.dumps({f"{ti.task_id}.{ti.map_index}": str(ti.state) for ti in run.get_task_instances()}))
"""


@pytest.mark.slow
def test_large_scenes_are_predicted_in_parts_and_joined(tmp_path: Path) -> None:
    asked, printed = run_dags(tmp_path, {"towns": PROJECT}, STAGE, RUN)
    both, small, none = (json.loads(line[7:]) for line in printed.splitlines() if line.startswith("STATES "))
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
