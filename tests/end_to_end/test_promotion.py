"""Approval, refusal, time-out and rollback through a real scheduler and Airflow's REST API, on tiny scenes.

The maps are worth nothing here; who decides what, and what is written down, is under test.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from satseg.config.settings import settings
from satseg.registry.audit import AuditEntry, entries
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version
from satseg_airflow.embedded.airflow import running_airflow
from satseg_airflow.embedded.environment import Home
from satseg_airflow.rest import AirflowApi

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(2400)]

PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: mobilenet, epochs: 1, steps_per_epoch: 2, batch_size: 2}
promotion:
  min_iou: 0.0
  max_iou_loss: 1.0
  margin_over_all_positive: -1.0
  approval: manual
  answer_within_hours: %s
inference: {window_px: 128}
"""
PATIENT, IMPATIENT = 1.0, 0.01  # hours
DAG = "tiny.model_promotion"
SETTLED_S = 6.0  # answering at once meets a race in Airflow's executor
WITHIN_S = 900.0


class World:
    """The workspace, its Airflow, and what people do there."""

    def __init__(self, home: Home, api: AirflowApi) -> None:
        self.home, self.api = home, api

    @property
    def log(self) -> list[AuditEntry]:
        return entries(self.home.workspace.audit_log("tiny"))

    def champion(self) -> str | None:
        return alias_version(self.home.workspace, "tiny", "champion")

    def wait(self, done: Any, what: str) -> Any:
        deadline = time.monotonic() + WITHIN_S
        while not (found := done()):
            assert time.monotonic() < deadline, f"{what} did not happen within {WITHIN_S:.0f} s"
            time.sleep(2)
        return found

    def states(self, run_id: str) -> dict[str, str]:
        return {task["task_id"]: task["state"] for task in self.api.tasks(DAG, run_id)}

    def trigger(self, run_id: str, **conf: Any) -> None:
        self.api.trigger(DAG, run_id, conf)

    def asked(self, run_id: str) -> dict[str, Any]:
        """Wait until a person is asked, and return what is shown."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails"
        self.wait(lambda: self.states(run_id).get("approval") in {"awaiting_input", "deferred"}, "the question")
        time.sleep(SETTLED_S)
        return self.api.get(path)

    def answer(self, run_id: str, option: str, why: str) -> None:
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails"
        self.api.call("PATCH", path, json={"chosen_options": [option], "params_input": {"why": why}})

    def finish(self, run_id: str) -> dict[str, str]:
        run = self.wait(
            lambda: (found := self.api.run(DAG, run_id)) and found["state"] in {"success", "failed"} and found,
            f"the end of {run_id}",
        )
        assert run["state"] == "success", self.states(run_id)
        return self.states(run_id)


def satseg(home: Home, *words: str) -> dict[str, Any]:
    """Run a command in the workspace and return its result."""
    environment = os.environ | {
        "SATSEG_WORKSPACE": str(home.workspace.root),
        "SATSEG_PROJECTS_DIR": str(home.projects_dir),
    }
    done = subprocess.run(
        [sys.executable, "-m", "satseg", *words, "--json"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def registered(home: Home, seed: int) -> str:
    run_id = satseg(home, "train", "--project", "tiny", "--set", f"training.seed={seed}")["run_id"]
    satseg(home, "evaluate", run_id, "--project", "tiny")
    return str(satseg(home, "register", run_id, "--project", "tiny")["version"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("promotion")
    (folder / "projects").mkdir()
    project = folder / "projects" / "tiny.yaml"
    project.write_text(PROJECT % PATIENT)
    settings.cache_clear()
    home = Home(Workspace(folder / "workspace"), folder / "projects")
    satseg(home, "demo-scenes", str(folder / "scenes"), "--count", "3", "--size", "256")
    satseg(home, "ingest", str(folder / "scenes"), "--project", "tiny")
    satseg(home, "patch", "--project", "tiny")
    assert [registered(home, seed) for seed in (0, 1)] == ["1", "2"]
    with running_airflow(home, print) as airflow, airflow.api() as api:
        made = World(home, api)
        made.wait(lambda: DAG in api.dag_ids("tiny"), "the DAG")
        api.pause(DAG, paused=False)
        yield made
    settings.cache_clear()


def test_person_sees_the_gates_and_approves_the_first_champion(world: World) -> None:
    world.trigger("first", version="1", reason="the first model")
    shown = world.asked("first")
    assert shown["subject"] == "Promote version 1 of tiny to champion?"
    assert "| loads and predicts | **passed** |" in shown["body"]
    assert "report.html" in shown["body"]
    assert world.champion() is None  # nothing moves before the answer
    world.answer("first", "Approve", "looks right on the map")
    states = world.finish("first")
    assert (states["promote"], states["publish_champion"]) == ("success", "success")
    assert world.champion() == "1"
    last = world.log[-1]
    assert (last.action, last.who) == ("promoted", "admin")
    assert last.reason.endswith("; looks right on the map")


def test_rejected_version_is_refused_and_the_log_says_by_whom_and_why(world: World) -> None:
    world.trigger("second", version="2")
    assert "| not worse than champion |" in world.asked("second")["body"]
    world.answer("second", "Reject", "misses tin roofs")
    states = world.finish("second")
    assert {states[task] for task in ("promote", "publish_champion", "close_episode")} == {"skipped"}
    assert world.champion() == "1"
    last = world.log[-1]
    assert (last.action, last.to_version, last.who) == ("refused", "2", "admin")
    assert last.reason == "rejected by admin; misses tin roofs"


def test_better_evidence_and_an_approval_replace_the_champion_and_the_form_takes_it_back_in_one_step(
    world: World,
) -> None:
    world.trigger("third", version="2")
    world.asked("third")
    world.answer("third", "Approve", "")
    world.finish("third")
    assert (world.champion(), alias_version(world.home.workspace, "tiny", "previous")) == ("2", "1")
    world.trigger("back", action="rollback", reason="customers complain")
    states = world.finish("back")
    assert (states["rollback"], states["publish_champion"], states["gates"]) == ("success", "success", "skipped")
    assert world.champion() == "1"
    last = world.log[-1]
    assert (last.action, last.from_version, last.to_version) == ("rolled_back", "2", "1")
    assert (last.who, last.reason) == ("admin", "customers complain")


def test_question_that_nobody_answers_in_time_refuses(world: World) -> None:
    (world.home.projects_dir / "tiny.yaml").write_text(PROJECT % IMPATIENT)
    time.sleep(30)  # until the DAG processor has read it
    world.trigger("silence", version="2")
    states = world.finish("silence")
    assert states["promote"] == "skipped"
    assert world.champion() == "1"
    last = world.log[-1]
    assert (last.action, last.to_version) == ("refused", "2")
    assert last.who == "nobody, for no answer came in time"
