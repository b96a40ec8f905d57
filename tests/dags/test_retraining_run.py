"""model_retraining by `dag.test`: with labels enough nobody is asked, with too few the run waits for annotators."""

import json
from pathlib import Path
from typing import Any

import pytest
from dag_process import run_dags

PROJECT = "name: towns\nclasses: [roof]\nretraining: {ask_windows: 7}\n"
STAGE = """
import json, os, sys
from pathlib import Path

words = sys.argv[1:]
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps(words) + "\\n")
value = lambda option: words[words.index(option) + 1]
few = os.environ["LABELS"] == "few"
name = " ".join(words[:2]) if words[0] == "drift" else words[0]
if "--collect" in words:
    print(json.dumps({"message": "two", "windows": ["a", "b"], "waiting": []}))
    sys.exit(0)
answers = {
    "ingest": {"dataset_version": "v3" if Path(os.environ["ASKED"]).read_text().count('["ingest"') > 1 else "v2"},
    "drift labels": {"request": "drift-2026-03-02", "dataset_version": "v2", "candidates": ["new"]},
    "select": {"windows": ["a", "b"]},
    "patch": {"patch_set": "0123456789ab", "dataset_version": "v2", "scenes": ["old"]},
    "train": {"run_id": "again"},
    "evaluate": {"run_id": "first" if "champion" in words else "again"},
    "drift evidence": {"reason": "haze"},
    "register": {"version": "2", "decision": "registered"},
}
if name == "drift labels":
    answers[name]["enough"] = not few
Path(value("--result")).write_text(json.dumps({"message": name} | answers[name]))
sys.exit(4 if name == "drift labels" and not few else 0)
"""
RUN = """
import json
dag = DagBag("dags/model_retraining.py").dags["towns.model_retraining"]
os.environ["PYTHONPATH"] = sys.argv[1]
for labels in ("enough", "few"):
    os.environ["LABELS"] = labels
    said = open(os.environ["ASKED"], "a")
    print(json.dumps([labels]), file=said, flush=True)
    run = dag.test(run_conf={"night": "2026-03-02"})
    print("STATES", json.dumps({ti.task_id: str(ti.state) for ti in run.get_task_instances()}))
"""
ASKING = {"select_windows", "wait_for_labels", "ingest_labels"}


@pytest.mark.slow
def test_annotators_are_asked_only_where_labels_are_too_few(tmp_path: Path) -> None:
    asked, printed = run_dags(tmp_path, {"towns": PROJECT}, STAGE, RUN)
    enough, few = (json.loads(line[7:]) for line in printed.splitlines() if line.startswith("STATES "))
    assert {enough[name] for name in ASKING | {"count_labels"}} == {"skipped"}
    assert {state for name, state in enough.items() if name not in ASKING | {"count_labels"}} == {"success"}
    assert set(few.values()) == {"success"}
    first, second = asked[1 : asked.index(["few"])], asked[asked.index(["few"]) + 1 :]
    assert not any(words[0] == "select" for words in first)
    assert _option(first, "patch", "--dataset-version") == "v2"
    select = next(words for words in second if words[0] == "select")
    assert select[1:7] == ["--scene", "new", "--budget", "7", "--name", "drift-2026-03-02"]
    assert ["select", "--collect", "drift-2026-03-02", "--project", "towns", "--json"] in second
    assert _option(second, "patch", "--dataset-version") == "v3"  # the version with the annotators' windows
    evidence = next(words for words in second if words[:2] == ["drift", "evidence"])
    assert evidence[2:9] == ["again", "--patch-set", "0123456789ab", "--champion", "first", "--night", "2026-03-02"]
    assert second.index(evidence) < second.index(next(words for words in second if words[0] == "register"))


def _option(asked: list[list[str]], stage: str, option: str) -> Any:
    words = next(words for words in asked if words[0] == stage)
    return words[words.index(option) + 1]
