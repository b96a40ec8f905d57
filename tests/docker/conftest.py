"""A real Docker engine and the images of this commit; without an engine the tests say so and skip."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker_tests import BUILD_WITHIN_S, ROOT, build, container_settings, docker

from docker import APIClient
from satseg.config.settings import settings
from satseg.errors import TemporaryError
from satseg_airflow.containers.engine import connected

BARE, BASE = "satseg-test/bare:bookworm", "satseg-test/base:bookworm"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = "python3,python3-venv,ca-certificates,libexpat1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(3 * BUILD_WITHIN_S))  # the first test waits for the images


@pytest.fixture(scope="session")
def address() -> str:
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@pytest.fixture(scope="session")
def engine(address: str) -> Iterator[APIClient]:
    try:
        with connected(address) as client:
            yield client
    except TemporaryError:
        pytest.skip(
            f"no Docker engine answers at {address}; on Debian as root: export DOCKER_HOST=$(.ci/docker-engine start)"
        )


@pytest.fixture(scope="session")
def base(engine: APIClient) -> str:
    """The base image: BASE_IMAGE, or one made from Debian's packages, because no registry need be reachable."""
    if given := os.environ.get("BASE_IMAGE"):
        return given
    if engine.images(name=BASE):
        return BASE
    with building():
        make_base()
    return BASE


def make_base() -> None:
    if shutil.which("mmdebstrap") is None or os.getuid() != 0:
        pytest.skip("no base image: give BASE_IMAGE (Python 3.11 on Debian), or install mmdebstrap and run as root")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "bare.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(archive)],
            check=True,
            timeout=BUILD_WITHIN_S,
        )
        docker("import", str(archive), BARE)
        archive.unlink()
        # the certificates of this machine: a mirror of PyPI may have one of its own
        shutil.copy(CA_BUNDLE, folder)
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
        (Path(folder) / "Dockerfile").write_text(
            f"FROM {BARE}\nCOPY {CA_BUNDLE.name} {CA_BUNDLE}\nENV {' '.join(f'{name}={CA_BUNDLE}' for name in names)}\n"
        )
        docker("build", "--tag", BASE, folder)


@contextmanager
def building() -> Iterator[None]:
    """SATSEG_TEST_MAY_NOT_BUILD=1 (CI): where images cannot be built, the tests say so and skip."""
    try:
        yield
    except (AssertionError, subprocess.SubprocessError) as error:
        if not os.environ.get("SATSEG_TEST_MAY_NOT_BUILD"):
            raise
        pytest.skip(f"the images cannot be built on this machine: {error}")


@pytest.fixture(scope="session")
def stage_image(engine: APIClient, base: str) -> dict[str, str]:
    """The image of stages alone."""
    with building():
        return build(base, "satseg")


@pytest.fixture(scope="session")
def images(stage_image: dict[str, str], base: str) -> dict[str, str]:
    """The images of stages and of Airflow."""
    with building():
        return stage_image | build(base, "airflow")


@pytest.fixture
def stage_workspace(
    address: str, stage_image: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Path]:
    """A workspace; the settings of this process make stages run in containers."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name, value in container_settings(address, workspace, ROOT / "include" / "projects").items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield workspace
    settings.cache_clear()
