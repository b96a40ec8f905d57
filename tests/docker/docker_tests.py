"""The Docker client, the images, and the settings of the tests on an engine."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_WITHIN_S = int(os.environ.get("SATSEG_TEST_BUILD_WITHIN_S", "3600"))


def docker(*words: str, **more: object) -> str:
    """Run the client. Debian's comes with BuildKit built in; others need the plugin buildx."""
    done = subprocess.run([client(), *words], capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return str(done.stdout)


def client() -> str:
    plugin = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    debian = Path("/usr/bin/docker")
    return str(debian) if plugin.returncode and debian.exists() else "docker"


def build(base: str, *names: str) -> dict[str, str]:
    """Build images and return their tags by name; SATSEG_TEST_KEEP_IMAGES=1 takes those that are there."""
    tags = {name: f"satseg/{name}:{version('satseg')}" for name in names}
    if os.environ.get("SATSEG_TEST_KEEP_IMAGES"):
        return tags
    environment = os.environ | {"BASE_IMAGE": base, "DOCKER": client(), "DOCKER_BUILD_FLAGS": "--network host"}
    done = subprocess.run(
        [ROOT / "docker" / "build", *names],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_WITHIN_S,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    print(done.stdout[-500:])
    return tags


def container_settings(address: str, workspace: Path, projects: Path) -> dict[str, str]:
    return {
        "SATSEG_WORKSPACE": str(workspace),
        "SATSEG_PROJECTS_DIR": str(projects),
        "SATSEG_RUNNER": "docker",
        "SATSEG_DOCKER_URL": address,
        "SATSEG_DOCKER_NETWORK": "none",  # everything they need is in the workspace
    }
