"""The Dockerfiles and their package lists, read without an engine."""

import re
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DOCKERFILES = [DOCKER / f"{name}.Dockerfile" for name in ("airflow", "satseg", "serving")]
LISTS = [DOCKER / "requirements" / f"{name}.txt" for name in ("airflow", "satseg", "satseg-gpu", "serving")]


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_image_is_pinned_multi_stage_and_not_roots(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    base = re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base[0])
    last = text.rpartition("\nFROM ")[2]
    assert last.startswith("${BASE_IMAGE}\n")  # nothing of the tools is left
    assert re.findall(r"^USER (\d+)$", last, re.MULTILINE) == ["10001"]
    for word in ("HEALTHCHECK", "org.opencontainers.image.version", "org.opencontainers.image.revision"):
        assert word in last


@pytest.mark.parametrize("packages", LISTS, ids=lambda path: path.stem)
def test_packages_have_the_versions_of_the_development_environment(packages: Path) -> None:
    ours, theirs = pins(DOCKER.parent / "requirements.txt"), pins(packages)
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 50
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def test_only_the_stages_know_tensorflow_and_only_the_orchestrator_knows_airflow() -> None:
    by_image = {path.stem: pins(path) for path in LISTS}
    assert {name for name, found in by_image.items() if "tensorflow" in found} == {"satseg", "satseg-gpu", "serving"}
    assert {name for name, found in by_image.items() if "apache-airflow" in found} == {"airflow"}
    assert "nvidia-cudnn-cu12" in by_image["satseg-gpu"]
    assert not {"pytest", "ruff", "mypy"} & set().union(*by_image.values())
