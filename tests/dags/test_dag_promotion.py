"""model_promotion: who is asked, what is shown, and what a run leads to; the stages only say what they were asked."""

import json
from datetime import UTC, datetime
from typing import Any

import jinja2
import pytest
from dag_process import run_dags

STAGE = """
import json, os, sys
from pathlib import Path

words = sys.argv[1:]
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps(words) + "\\n")
value = lambda option: words[words.index(option) + 1]
gate = {"name": "floor", "passed": True, "value": 0.5, "bound": 0.3, "evidence": "why", "outcome": "passed"}
answers = {
    "promote": {"version": "3", "decision": "promoted", "gates": [gate], "undecided": [], "links": {}},
    "rollback": {"version": "1", "decision": "rolled_back"},
    "drift": {"state": "none"},
}
answer = dict(answers[words[0]])
if "--check" in words:
    answer["decision"] = "refused" if words[1] == "bad" else "promotable"
Path(value("--result")).write_text(json.dumps({"message": words[0]} | answer))
sys.exit(4 if answer.get("decision") == "refused" else 0)
"""
PROJECTS = {
    "roads": "name: roads\nclasses: [road]\n",
    "trees": "name: trees\nclasses: [tree]\npromotion: {approval: unsure}\n",
}
RUNS = [
    ("roads.model_promotion", {"version": "3", "reason": "better"}),
    ("roads.model_promotion", {"version": "bad"}),
    ("roads.model_promotion", {"action": "rollback", "reason": "misses tin roofs"}),
    ("trees.model_promotion", {"version": "3"}),
]
RUN = f"""
import json
os.environ["PYTHONPATH"] = sys.argv[1]
outcomes = {{}}
for dag_id, conf in {RUNS!r}:
    dag = DagBag("dags/model_promotion.py").dags[dag_id]
    run = dag.test(run_conf=conf)
    states = {{ti.task_id: str(ti.state) for ti in run.get_task_instances()}}
    outcomes[f"{{dag_id}} {{conf.get('action', '')}}{{conf.get('version', '')}}"] = states
print("STATES", json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, str]], list[list[str]]]:
    """The states of every run's tasks, and the words of every stage that ran."""
    asked, printed = run_dags(tmp_path_factory.mktemp("promotion"), PROJECTS, STAGE, RUN)
    states = next(line for line in printed.splitlines() if line.startswith("STATES"))
    return json.loads(states.removeprefix("STATES ")), asked


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


@pytest.mark.slow
def test_version_that_passes_is_promoted_by_the_gates_and_published(ran) -> None:
    states = ran[0]["roads.model_promotion 3"]
    done = {"action", "gates", "promote", "publish_champion", "close_episode"}
    assert {task for task, state in states.items() if state == "success"} == done
    assert states["rollback"] == "skipped"
    promote = next(words for words in ran[1] if words[0] == "promote" and "--check" not in words)
    assert (option(promote, "--approved-by"), option(promote, "--reason")) == ("gates, asked by dag_test", "better")


@pytest.mark.slow
def test_refused_version_is_neither_promoted_nor_published(ran) -> None:
    check = next(words for words in ran[1] if words[:2] == ["promote", "3"] and "--check" in words)
    assert (option(check, "--approved-by"), option(check, "--reason")) == ("gates, asked by dag_test", "better")
    states = ran[0]["roads.model_promotion bad"]
    assert {task for task, state in states.items() if state == "success"} == {"action"}
    assert set(states.values()) == {"success", "skipped"}


@pytest.mark.slow
def test_rollback_is_one_step_of_the_form_and_publishes_the_champion(ran) -> None:
    states = ran[0]["roads.model_promotion rollback"]
    assert {task for task, state in states.items() if state == "success"} == {"action", "rollback", "publish_champion"}
    (rollback,) = [words for words in ran[1] if words[0] == "rollback"]
    assert option(rollback, "--reason") == "misses tin roofs"
    assert option(rollback, "--request")  # so that a retry does not go back twice


@pytest.mark.slow
def test_nobody_is_asked_when_every_gate_has_its_evidence(ran) -> None:
    states = ran[0]["trees.model_promotion 3"]
    assert (states["approval"], states["promote"]) == ("success", "success")
    assert option([words for words in ran[1] if words[0] == "promote"][-1], "--approved-by") == "gates"


def test_form_offers_promotion_and_rollback(seen) -> None:
    dag = seen["dags"]["roads.model_promotion"]
    assert dag["schemas"]["action"]["enum"] == ["promote", "rollback"]
    assert dag["params"]["action"] == "promote"
    assert dag["tasks"]["action"]["downstream"] == ["gates", "rollback"]
    assert dag["tasks"]["rollback"]["downstream"] == ["publish_champion"]


# --- what the person sees and what the answer becomes -----------------------------------------------------------


class TaskInstance:
    """Answers xcom_pull as Airflow would."""

    def __init__(self, **results: Any) -> None:
        self._results = results

    def xcom_pull(self, task_ids: str) -> Any:
        return self._results.get(task_ids)


def render(template: str, params: dict[str, Any] | None = None, **results: Any) -> str:
    strict = jinja2.Template(template, undefined=jinja2.StrictUndefined)  # as Airflow renders
    return strict.render(ti=TaskInstance(**results), params=params or {"reason": "form's"})


GATES = {
    "message": "v3 passes 1 gates",
    "version": "3",
    "gates": [
        {"name": "floor", "passed": True, "value": 0.51234, "bound": 0.3, "evidence": "a | b", "outcome": "passed"},
        {"name": "x", "passed": True, "value": None, "bound": None, "evidence": "e", "outcome": "not enough evidence"},
    ],
    "undecided": ["x"],
    "links": {"report": "http://mlflow/report", "training run": "file:///runs/1"},
}


@pytest.fixture
def project():
    from satseg.config.project import ProjectConfig

    return ProjectConfig(name="roads", classes=("road",), promotion={"approval": "unsure", "answer_within_hours": 2})


def test_person_sees_the_gate_table_and_the_links(project) -> None:
    from satseg_airflow.approval import approval_task

    task = approval_task(project)
    assert task.response_timeout.total_seconds() == 7200
    assert task.defaults == ["Reject"]
    body = render(task.body, gates=GATES)
    assert "| floor | **passed** | 0.512 | 0.3 | a / b |" in body
    assert "| x | **not enough evidence** | – | – | e |" in body
    assert "- report: <http://mlflow/report>" in body
    assert "- training run: `file:///runs/1`" in body
    assert "satseg models compare champion 3 -p roads" in body
    assert "No answer within 2 hours counts as Reject" in body


@pytest.mark.parametrize(
    ("answer", "approved", "rejected", "why"),
    [
        ({"chosen_options": ["Approve"], "responded_by_user": {"name": "ada"}, "params_input": {"why": "fine"}},
         "ada", "", "fine"),
        ({"chosen_options": ["Reject"], "responded_by_user": {"name": "ada"}, "params_input": {}}, "", "ada", "form's"),
        ({"chosen_options": ["Reject"], "responded_by_user": None, "params_input": None},
         "", "nobody, for no answer came in time", "form's"),
    ],
)  # fmt: skip
def test_answer_or_its_lack_becomes_who_and_why(project, answer, approved, rejected, why) -> None:
    from satseg_airflow.approval import answered_by, reason

    words = [render(word, approval=answer) for word in answered_by(project)]
    assert words == ["--approved-by", approved, "--rejected-by", rejected]
    assert render(reason(project), approval=answer) == why


@pytest.mark.parametrize(("user", "who"), [("ada", "gates, asked by ada"), (None, "gates")])
def test_gates_that_decide_alone_say_who_asked_them(user, who) -> None:
    from satseg.config.project import ProjectConfig
    from satseg_airflow.approval import answered_by

    project = ProjectConfig(name="roads", classes=("road",))
    _, word = answered_by(project)
    assert jinja2.Template(word).render(dag_run={"triggering_user_name": user}) == who


def test_reject_goes_on_to_be_written_down(project) -> None:
    from satseg_airflow.approval import approval_task

    event = {
        "chosen_options": ["Reject"],
        "params_input": {"why": "no"},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "1", "name": "ada"},
    }
    answer = approval_task(project).execute_complete({}, event)  # the standard operator would skip what follows
    assert (answer["chosen_options"], answer["responded_by_user"]["name"]) == (["Reject"], "ada")
