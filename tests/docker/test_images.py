"""The images: what is in them, who they run as, and what they say of themselves."""

import json
import os
import subprocess
import time
from importlib.metadata import version
from typing import Any

import pytest
from docker_tests import ROOT, build, docker

from docker import APIClient
from plugin_imports import modules_of_the_plugin

LARGEST_MB = {"airflow": 1500, "satseg": 4500}
NAMES = list(LARGEST_MB)
WITHIN_S = 240


def run(image: str, *words: str, flags: tuple[str, ...] = ()) -> str:
    return docker("run", "--rm", "--network", "none", *flags, image, *words)


@pytest.mark.parametrize("name", NAMES)
def test_image_says_which_version_and_commit_it_is_and_runs_as_nobody_special(
    engine: APIClient, images: dict[str, str], name: str
) -> None:
    about: dict[str, Any] = engine.inspect_image(images[name])
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    labels = about["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == version("satseg")
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit
    assert about["Config"]["User"] == "10001"
    assert about["Config"]["Healthcheck"]["Test"][0] == "CMD"
    size_mb = about["Size"] / 1e6
    print(f"satseg/{name}: {size_mb:,.0f} MB")
    assert size_mb < LARGEST_MB[name]


def test_stage_image_finds_every_library_and_knows_its_commit(images: dict[str, str]) -> None:
    code = (
        "import json, cv2, mlflow, onnxruntime, pyogrio, rasterio, shapely, sklearn;"
        "from satseg.models.keras.runtime import tf; from ai_edge_litert.interpreter import Interpreter;"
        "from satseg.tracking.code_version import code_version;"
        "print(json.dumps({'tensorflow': tf.__version__, 'commit': code_version().commit}))"
    )
    seen = json.loads(run(images["satseg"], "-c", code, flags=("--entrypoint", "python")).splitlines()[-1])
    assert seen["tensorflow"] == version("tensorflow")
    assert len(seen["commit"]) == 40
    assert run(images["satseg"], "--version", flags=("--entrypoint", "git")).startswith("git version")


def test_orchestrator_has_no_machine_learning_and_parses_its_dags(images: dict[str, str]) -> None:
    code = """
import importlib.util, json
for name in ("tensorflow", "keras", "sklearn", "dvc", "great_expectations"):
    assert importlib.util.find_spec(name) is None, name
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("/opt/airflow/dags")
print(json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""
    seen = json.loads(run(images["airflow"], "-c", code, flags=("--entrypoint", "python")).splitlines()[-1])
    assert seen["errors"] == {}
    files = {path.stem for path in (ROOT / "dags").glob("*.py")} - {"project_files"}  # that one has none of its own
    assert set(seen["dags"]) == {f"buildings.{name}" for name in files}


def test_orchestrator_has_what_the_plugin_reads_with(images: dict[str, str]) -> None:
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    run(images["airflow"], "-c", code, *modules_of_the_plugin(), flags=("--entrypoint", "python"))
    assert run(images["airflow"], "--version", flags=("--entrypoint", "git")).startswith("git version")


@pytest.mark.parametrize("component", ["api-server", "scheduler"])
def test_health_check_tells_a_living_component_from_one_that_does_not_answer(
    images: dict[str, str], component: str
) -> None:
    start = f"airflow db migrate && sleep 5 && exec airflow {component}"
    secret = ("--env", "AIRFLOW__API_AUTH__JWT_SECRET=only for this test, never anywhere else")
    flags = ("--detach", "--init", "--network", "none", *secret, "--entrypoint", "sh")
    container = docker("run", *flags, images["airflow"], "-c", start).strip()
    try:
        assert healthy(container) is False  # it is not up yet
        deadline = time.monotonic() + WITHIN_S
        while not healthy(container):
            assert time.monotonic() < deadline, docker("logs", container)[-3000:]
            time.sleep(2)
    finally:
        docker("rm", "--force", container)


def healthy(container: str) -> bool:
    check = ["docker", "exec", container, "airflow-health"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not os.environ.get("SATSEG_TEST_ALL_IMAGES"), reason="12 GB: set SATSEG_TEST_ALL_IMAGES=1")
def test_serving_and_gpu_images_build(engine: APIClient, base: str) -> None:
    for tag in build(base, "serving", "satseg-gpu").values():
        assert engine.inspect_image(tag)["Config"]["User"] == "10001"
