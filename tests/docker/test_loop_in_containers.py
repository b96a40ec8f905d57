"""The whole loop through a real Airflow whose stages run in containers, and the ways a container can end.

On the way the container of the first training is killed in its second epoch. Airflow itself runs as an ordinary user
where this test is root and that user can read the repository, so that the owner of the files says something.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from docker_tests import ROOT, container_settings

from docker import APIClient
from satseg.config.settings import settings
from satseg.storage.atomic import TEMP_PREFIX
from satseg.storage.layout import Workspace
from satseg_airflow.containers.labels import STAGE, WORKSPACE
from satseg_airflow.containers.orphans import labelled
from satseg_airflow.demo.chain import Demo, Outcome
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.embedded.airflow import EmbeddedAirflow
from satseg_airflow.embedded.environment import Home, Ports
from satseg_airflow.rest import AirflowApi
from tiny_project import tiny_home, tiny_plan

pytestmark = pytest.mark.timeout(7200)

USER = "nobody"
CHILD = Path(__file__).with_name("airflow_child.py")
PACKAGES = os.pathsep.join((str(ROOT / "include"), sysconfig.get_path("purelib")))
TRAINING, PROMOTION = "tiny.model_training", "tiny.model_promotion"
WITHIN_S = 2400.0  # on a machine that others use too
GONE_WITHIN_S = 60.0
# a rollback loads MLflow, which needs more
LIMITS = '{"train": {"memory": "4g"}, "rollback": {"memory": "64m"}}'


class World:
    """The workspace, its Airflow, its containers, and who runs them."""

    def __init__(self, home: Home, engine: APIClient, owner: tuple[int, int]) -> None:
        self.home, self.engine, self.owner = home, engine, owner
        self.airflow: EmbeddedAirflow | None = None

    def containers(self) -> list[dict[str, Any]]:
        return labelled(self.engine, {WORKSPACE: str(self.home.workspace.root)})

    def epochs(self) -> int:
        """Finished epochs of the newest training."""
        files = sorted(self.home.workspace.runs.glob("*/epochs.jsonl"), key=lambda path: path.stat().st_ctime)
        return len(files[-1].read_text().splitlines()) if files else 0

    def api(self) -> AirflowApi:
        assert self.airflow is not None
        return self.airflow.api()

    def log(self, dag: str, task: str, attempt: int) -> str:
        found = self.home.folder.glob(f"logs/tasks/dag_id={dag}/**/task_id={task}/attempt={attempt}.log")
        return max(found, key=lambda path: path.stat().st_mtime).read_text()


def wait_for(what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


class Runs(NamedTuple):
    """Who runs Airflow, with which Python."""

    owner: tuple[int, int]
    python: str


def who_may_run_airflow() -> Runs:
    """Return nobody where this process is root and nobody can run a Python with our packages, otherwise ourselves."""
    nobody = pwd.getpwnam(USER)
    # a Python below /root is not to be read by others; Debian's takes the same packages
    for python in (sys.executable, "/usr/bin/python3.11") if os.getuid() == 0 else ():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", "import airflow, satseg_airflow"],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                env={"PYTHONPATH": PACKAGES, "AIRFLOW_HOME": tempfile.gettempdir(), "PATH": os.defpath},
                check=True,
                capture_output=True,
            )
            return Runs((nobody.pw_uid, nobody.pw_gid), python)
    return Runs((os.getuid(), os.getgid()), sys.executable)


@pytest.fixture(scope="module")
def world(engine: APIClient, address: str, images: dict[str, str]) -> Iterator[World]:
    owner, python = who_may_run_airflow()
    print(f"Airflow runs as {owner[0]}:{owner[1]} with {python}")
    folder = Path(tempfile.mkdtemp(prefix="satseg-loop-", dir="/var/tmp"))
    folder.chmod(0o755)
    home = tiny_home(folder)
    home.workspace.root.mkdir()
    os.chown(home.workspace.root, *owner)
    environment = os.environ | container_settings(address, home.workspace.root, home.projects_dir)
    environment |= {"SATSEG_DOCKER_STAGES": LIMITS, "PYTHONPATH": PACKAGES, "LOGNAME": USER, "HOME": str(folder)}

    airflow = subprocess.Popen(
        [python, str(CHILD), str(home.workspace.root), str(home.projects_dir)],
        env=environment, user=owner[0], group=owner[1],
        extra_groups=[Path(address.removeprefix("unix://")).stat().st_gid],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert airflow.stdin is not None
    assert airflow.stdout is not None
    made = World(home, engine, owner)
    settings.cache_clear()
    try:
        url = airflow.stdout.readline().strip()
        assert url, "Airflow did not start"
        made.airflow = EmbeddedAirflow(home, ports=Ports(int(url.rpartition(":")[2]), 0, 0, 0))
        yield made
    finally:
        airflow.stdin.close()
        airflow.wait()
        left = made.containers()
        for container in left:
            engine.remove_container(container["Id"], force=True)
        shutil.rmtree(folder)
        settings.cache_clear()
    assert left == []


class Killer(threading.Thread):
    """Kills the container of the training, once, when its first epoch is done; keeps what it was."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.killed: dict[str, Any] | None = None
        self.in_epoch = 0

    def run(self) -> None:
        deadline = time.monotonic() + WITHIN_S
        while self.killed is None and time.monotonic() < deadline:
            time.sleep(0.05)
            if not (done := self.world.epochs()):
                continue
            for container in self.world.containers():
                if container["Labels"][STAGE] == "train":
                    self.in_epoch = done + 1
                    about = self.world.engine.inspect_container(container["Id"])
                    self.world.engine.kill(container["Id"], "SIGKILL")
                    self.killed = about


@pytest.fixture(scope="module")
def killer(world: World) -> Killer:
    return Killer(world)


@pytest.fixture(scope="module")
def loop(world: World, killer: Killer) -> Outcome:
    killer.start()
    assert world.airflow is not None
    return Demo(tiny_plan(world.home, WITHIN_S), world.airflow, LineScreen()).run()


def test_loop_goes_from_scenes_to_a_decision_on_the_retrained_model(loop: Outcome) -> None:
    assert (loop.promotion["version"], loop.promotion["decision"]) == ("1", "promoted")
    assert sorted(one["scene"] for one in loop.predictions) == sorted(loop.ingest["scenes"])
    assert all(Path(one["classes"]).stat().st_size > 0 for one in loop.predictions)
    assert (loop.quiet["verdict"], loop.drifted["verdict"]) == ("no drift", "drift")
    assert loop.challenger["decision"] in {"promoted", "refused"}


def test_training_whose_container_was_killed_goes_on_in_the_next_try(
    loop: Outcome, killer: Killer, world: World
) -> None:
    assert killer.killed is not None
    assert killer.in_epoch == 2
    assert (loop.train["epochs"], loop.train["resumed"]) == (3, True)
    assert "killed by signal 9" in world.log(TRAINING, "train", 1)


def test_lines_of_the_container_are_in_the_task_log(loop: Outcome, world: World) -> None:
    log = world.log(TRAINING, "train", 2)
    assert "Starting docker container from image satseg/satseg:" in log
    assert "epoch 3/3" in log


def test_training_had_a_lease_its_limit_and_the_workers_user(loop: Outcome, killer: Killer, world: World) -> None:
    assert killer.killed is not None
    config, limits = killer.killed["Config"], killer.killed["HostConfig"]
    assert config["User"] == f"{world.owner[0]}:{world.owner[1]}"
    assert any(word.startswith("SATSEG_LEASE=") and word.endswith(":cpu-0") for word in config["Env"])
    assert limits["Memory"] == 4 * 2**30


def test_everything_in_the_workspace_belongs_to_whoever_runs_airflow(loop: Outcome, world: World) -> None:
    root = world.home.workspace.root
    foreign = [path for path in root.rglob("*") if (path.lstat().st_uid, path.lstat().st_gid) != world.owner]
    # the demo's scenes were made by this test
    assert [path for path in foreign if root / "demo" not in (path, *path.parents)] == []
    assert [path for path in root.rglob(f"{TEMP_PREFIX}*") if "airflow" not in path.parts] == []


def test_cancelled_training_leaves_no_container(loop: Outcome, world: World) -> None:
    conf = {"patch_set": loop.patches["patch_set"], "epochs": 40, "steps_per_epoch": 40}
    with world.api() as api:
        api.trigger(TRAINING, "cancelled", conf)
        wait_for(lambda: any(one["State"] == "running" for one in world.containers()))
        wait_for(lambda: "epoch 1/40" in world.log(TRAINING, "train", 1))
        path = f"/api/v2/dags/{TRAINING}/dagRuns/cancelled/taskInstances/train"
        api.call("PATCH", path, json={"new_state": "failed"})
        wait_for(lambda: not world.containers(), GONE_WITHIN_S)
        assert {task["task_id"]: task["state"] for task in api.tasks(TRAINING, "cancelled")}["train"] == "failed"
    wait_for(lambda: list(world.home.workspace.scratch.iterdir()) == [], GONE_WITHIN_S)


def test_stage_beyond_its_memory_limit_fails_at_once_and_says_what_to_raise(loop: Outcome, world: World) -> None:
    with world.api() as api:
        api.trigger(PROMOTION, "too_large", {"action": "rollback", "reason": "the limit is under test"})
        run = wait_for(lambda: (found := api.run(PROMOTION, "too_large")) and found["state"] == "failed" and found)
        tries = {task["task_id"]: task["try_number"] for task in api.tasks(PROMOTION, run["dag_run_id"])}
    assert tries["rollback"] == 1  # trying again could not help
    log = world.log(PROMOTION, "rollback", 1)
    assert "Stage rollback ran out of memory. Its container may use 64 MiB" in log
    assert "SATSEG_DOCKER_MEMORY" in log
    assert world.containers() == []
    assert Workspace(world.home.workspace.root).scratch.is_dir()
