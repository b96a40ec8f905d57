"""model_training of a project with a search space, run by `dag.test`; the stages only say what they were asked."""

from pathlib import Path

import pytest
from dag_process import run_dags

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
    asked, printed = run_dags(tmp_path, {"trees": PROJECT}, STAGE, RUN)
    steps = {" ".join(words[:5]): words for words in asked}
    assert "training.epochs=7" in steps["tune --step plan --trials 3"]
    trials = [words for words in asked if "--trial" in words]
    assert sorted(words[words.index("--trial") + 1] for words in trials) == ["0", "1", "2"]
    assert all(words[1:5] == ["--step", "trial", "--study", "abc"] for words in trials)
    assert all(words[-1].startswith("gpu-") for words in trials)
    assert steps["tune --step best --study abc"][-1] == ""
    assert steps["evaluate run-2 --patch-set 0123456789ab --project"]
    states = next(line for line in printed.splitlines() if line.startswith("STATES"))
    assert "'trial.1': 'failed'" in states
    assert "'publish_challenger.-1': 'success'" in states
