"""Which version of the code runs."""

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from satseg.config.settings import settings


class CodeVersion(NamedTuple):
    """Commit of the repository that holds satseg, otherwise the one its image was built from or "unknown".

    `dirty` says whether files differ from it; a build's commit ends with "-dirty" then.
    """

    commit: str
    dirty: bool


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@lru_cache(maxsize=1)
def code_version() -> CodeVersion:
    """Return the commit of the running code."""
    try:
        return CodeVersion(_git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        built = settings().code_commit or "unknown"
        return CodeVersion(built.removesuffix("-dirty"), built.endswith("-dirty"))
