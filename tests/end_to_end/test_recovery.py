"""A season change through the real DAGs: the retraining wins back what was lost, and forgets next to nothing.

The towns and trainings of `benchmarks/recovery.py --small`, through Airflow instead of the shell.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from satseg.config.settings import settings
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.demo.watch import Watch
from satseg_airflow.embedded.airflow import running_airflow
from satseg_airflow.embedded.environment import Home

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from recovery import LEAST_RECOVERED, MOST_FORGOTTEN, Size, World, figures

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(6 * 3600)]

NIGHT = "2026-03-01"
DAGS = ("scene_ingestion", "patch_generation", "model_training", "model_promotion", "model_retraining")
WITHIN_S = 3600.0


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the retraining's evidence says, after the season has changed."""
    folder = tmp_path_factory.mktemp("recovery")
    world = World(folder, Size(small=True), "autumn", seed=0)
    world.draw()
    (folder / "projects").mkdir()
    world.project.rename(folder / "projects" / "towns.yaml")
    settings.cache_clear()
    home = Home(Workspace(world.workspace), folder / "projects")
    with running_airflow(home, print) as airflow:
        watch = Watch(airflow, "towns", LineScreen(), WITHIN_S)
        try:
            yield _live(watch, home, folder)
        finally:
            watch.close()
    settings.cache_clear()


def _live(watch: Watch, home: Home, folder: Path) -> dict[str, Any]:
    api = watch.api

    def until(done: Any, what: str) -> None:
        watch.wait(done, WITHIN_S, lambda: f"{what} did not happen within {WITHIN_S:.0f} s")

    def run(name: str, run_id: str, conf: dict[str, Any]) -> None:
        api.trigger(f"towns.{name}", run_id, conf)
        watch.finish(f"towns.{name}", run_id)

    def arrive(name: str) -> None:
        run("scene_ingestion", name, {"source": str(folder / name)})
        patching = watch.started("towns.scene_ingestion", name, "towns.patch_generation")
        watch.finish("towns.patch_generation", patching)

    until(lambda: {f"towns.{name}" for name in DAGS} <= api.dag_ids("towns"), "the parsing of the DAGs")
    for name in DAGS:
        api.pause(f"towns.{name}", paused=False)
    arrive("first")
    run("model_training", "first", {})
    until(lambda: alias_version(home.workspace, "towns", "champion") == "1", "the first promotion")
    arrive("later")
    api.pause("towns.drift_detection", paused=False)
    run("drift_detection", "season", {"night": NIGHT, "dataset_version": "v2"})
    retraining = f"drift__towns__{NIGHT}"
    until(lambda: api.run("towns.model_retraining", retraining) is not None, "the retraining")
    watch.finish("towns.model_retraining", retraining)
    found: dict[str, Any] = api.result("towns.model_retraining", retraining, "evidence")
    return found


def test_what_the_season_took_comes_back(evidence: dict[str, Any]) -> None:
    measured = figures(evidence)
    assert measured["lost"] > 0, measured
    assert measured["recovered"] >= LEAST_RECOVERED, measured


def test_summer_is_not_forgotten(evidence: dict[str, Any]) -> None:
    measured = figures(evidence)
    assert measured["forgotten"] < MOST_FORGOTTEN, measured


def test_evidence_names_the_night(evidence: dict[str, Any]) -> None:
    assert evidence["night"] == NIGHT
    assert f"was confirmed on night {NIGHT}" in evidence["reason"]
