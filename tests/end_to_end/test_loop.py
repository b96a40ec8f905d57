"""The whole loop on tiny scenes, through a real scheduler: the code of the demo with a smaller plan.

On the way the first training is killed (`kill -9`) in its second epoch; Airflow's retry has to end it well.
"""

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from satseg.config.settings import settings
from satseg.storage.atomic import TEMP_PREFIX
from satseg.tracking.models import versions
from satseg.tracking.runs import get_run
from satseg_airflow.demo.chain import Demo, Outcome
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.embedded.airflow import EmbeddedAirflow, running_airflow
from satseg_airflow.embedded.environment import Home
from satseg_airflow.embedded.processes import is_stage, marked
from tiny_project import tiny_home, tiny_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    settings.cache_clear()
    yield tiny_home(tmp_path_factory.mktemp("loop"))
    settings.cache_clear()


class Killer(threading.Thread):
    """Kills the train stage, once, when its first epoch is done."""

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.killed_in_epoch: int | None = None

    def run(self) -> None:
        deadline = time.monotonic() + 600
        while self.killed_in_epoch is None and time.monotonic() < deadline:
            time.sleep(0.05)
            for epochs in self.home.workspace.root.glob("runs/*/epochs.jsonl"):
                done = len(epochs.read_text().splitlines())
                if done and self._kill():
                    self.killed_in_epoch = done + 1

    def _kill(self) -> bool:
        for process in filter(is_stage, marked(self.home.folder)):
            with contextlib.suppress(psutil.Error):
                if "train" in process.cmdline():
                    process.send_signal(signal.SIGKILL)
                    return True
        return False


@pytest.fixture(scope="module")
def killer(home: Home) -> Killer:
    return Killer(home)


@pytest.fixture(scope="module")
def loop(home: Home, killer: Killer) -> Outcome:
    """The outcome of one demo; Airflow is stopped when it is there."""
    killer.start()
    screen = LineScreen()
    with running_airflow(home, screen.say) as airflow:
        assert isinstance(airflow, EmbeddedAirflow)
        return Demo(tiny_plan(home), airflow, screen).run()


def test_drift_triggered_retraining_ends_and_its_challenger_is_decided_upon(loop: Outcome) -> None:
    assert loop.quiet["verdict"] == "no drift"
    assert loop.drifted["verdict"] == "drift"
    assert re.fullmatch(r"drift__tiny__\d{4}-\d\d-\d\d", loop.retraining_run)
    assert loop.challenger["version"] == "2"
    assert loop.challenger["decision"] in {"promoted", "refused"}


def test_versions_go_from_scene_to_champion(loop: Outcome) -> None:
    assert loop.ingest["dataset_version"] == "v1"
    assert len(loop.ingest["scenes"]) == 4
    assert min(loop.patches["windows"][split] for split in ("train", "val", "test")) > 0
    assert loop.train["patch_set"] == loop.patches["patch_set"] == loop.evaluation["patch_set"]
    assert loop.evaluation["run_id"] == loop.train["run_id"]
    assert (loop.promotion["version"], loop.promotion["decision"]) == ("1", "promoted")


def test_training_killed_in_its_second_epoch_was_ended_by_airflows_retry(
    loop: Outcome, home: Home, killer: Killer
) -> None:
    assert killer.killed_in_epoch == 2
    assert (loop.train["epochs"], loop.train["resumed"]) == (3, True)
    run = get_run(home.workspace, loop.train["run_id"])
    assert (run.status, run.tags["satseg.resumed"]) == ("FINISHED", "true")
    assert run.tags["satseg.resumed_after"].startswith("epoch 1, step 0;")
    tries = sorted(home.folder.glob("logs/tasks/dag_id=tiny.model_training/**/task_id=train/attempt=*.log"))
    assert [path.stem for path in tries] == ["attempt=1", "attempt=2"]
    assert "killed by signal 9" in tries[0].read_text()


def test_maps_of_every_scene_are_there(loop: Outcome) -> None:
    assert sorted(one["scene"] for one in loop.predictions) == sorted(loop.ingest["scenes"])
    for prediction in loop.predictions:
        for kind in ("probability", "classes", "polygons", "preview", "item"):
            assert Path(prediction[kind]).stat().st_size > 0


def test_retraining_learned_from_the_new_scenes_and_kept_the_test_blocks(loop: Outcome) -> None:
    assert loop.retrained["patch_set"] == loop.champion_again["patch_set"] != loop.patches["patch_set"]
    assert loop.retrained["reference"]["pixels"] == loop.champion_again["reference"]["pixels"] > 0


def test_card_of_the_retrained_model_tells_the_night_and_both_scores(loop: Outcome, home: Home) -> None:
    card = next(one for one in versions(home.workspace, "tiny") if one.version == "2").description
    night = loop.retraining_run.rpartition("__")[2]
    assert re.search(rf"\*\*Trained again\*\* because .*drift.* was confirmed on night {night} against v1", card)
    assert re.search(r"IoU on old scenes 0\.\d+ → 0\.\d+ .*, on new scenes", card)


def test_nothing_is_left_behind(loop: Outcome, home: Home) -> None:
    assert marked(home.folder) == []
    assert [path for path in home.workspace.root.rglob(f"{TEMP_PREFIX}*") if "airflow" not in path.parts] == []
    assert not home.workspace.scratch.exists()
    assert not (home.workspace.root / "locks").exists()
    assert list((home.workspace.data / ".dvc" / "tmp").glob("*lock*")) == []
    assert list(home.folder.glob("*.pid")) == []
