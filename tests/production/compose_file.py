"""docker-compose.yaml as data: anchors merged, variables as they stand."""

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
PROFILES = ("monitoring", "gpu", "backup", "quality")


@lru_cache(maxsize=1)
def compose() -> dict[str, Any]:
    """Return the file with its anchors merged."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def variables(text: str) -> dict[str, str]:
    """Return the variables a text asks for, with what follows the name: '' (nothing), ':-…' or ':?…'."""
    return dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)((?::[-?])[^}]*)?\}", text))


def program() -> list[str] | None:
    """Return the Compose this machine has: the plugin, or Debian's docker-compose."""
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def config(env_file: Path, *profiles: str, also: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `config` of the program on the file and `also` others of docker/, in an environment of its own."""
    words = program()
    assert words is not None
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    more = [word for name in also for word in ("--file", str(ROOT / "docker" / name))]
    command = [*words, "--env-file", str(env_file), "--file", str(COMPOSE), *more, *chosen, "config"]
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(env_file.parent)}
    return subprocess.run(command, capture_output=True, text=True, env=path, check=False, timeout=60)
