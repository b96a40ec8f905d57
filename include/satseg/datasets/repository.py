"""The git side of the data repository: commits, annotated tags `<project>/v<N>` and reading files of any version.

The `git` program is used directly: it survives `kill -9` well, and reading a version needs no DVC. Nothing depends
on the user's git configuration, hooks or identity.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from satseg.errors import ConfigurationError, TemporaryError

_OPTIONS = {
    "user.name": "satseg",
    "user.email": "satseg@localhost",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "core.hooksPath": os.devnull,
    "core.autocrlf": "false",
    "core.quotePath": "false",
    "init.defaultBranch": "main",
    "gc.auto": "0",  # no background process may outlive a stage
    "maintenance.auto": "false",
    "safe.directory": "*",  # in a container the workspace often belongs to another user
    "advice.detachedHead": "false",
}
_DATES = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")


@dataclass(frozen=True)
class Tag:
    """One dataset version as git knows it."""

    project: str
    number: int
    commit: str
    created: datetime
    message: str
    details: str = ""

    @property
    def name(self) -> str:
        """The version's name, `v<N>`."""
        return f"v{self.number}"


def _environment(when: datetime | None) -> dict[str, str]:
    # GIT_DIR and friends are set inside hooks and would point git at another repository
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    stamp = {} if when is None else dict.fromkeys(_DATES, f"@{when.timestamp():.0f} +0000")
    return (
        clean
        | stamp
        | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
    )


class GitRepository:
    """A git repository at `root`; every method runs one git process and holds nothing open."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _program(self) -> list[str]:
        git = shutil.which("git")
        if git is None:
            raise ConfigurationError("The program 'git' is not installed; dataset versions need it (apt install git).")
        return [git, *(word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}"))]

    def run(self, *arguments: str, stdin: bytes | None = None, when: datetime | None = None) -> bytes:
        """Run git and return its stdout; `when` is the time to write into a commit or tag, default now.

        Raises:
            TemporaryError: git failed; the message holds what it said.
        """
        # --git-dir keeps a workspace inside another repository from ever touching that one
        place = [f"--git-dir={self.root / '.git'}", f"--work-tree={self.root}"]
        done = subprocess.run(
            [*self._program, *place, *arguments],
            check=False,
            cwd=self.root,
            env=_environment(when),
            input=stdin,
            capture_output=True,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
            raise TemporaryError(
                f"git {' '.join(arguments[:2])} failed in {self.root}: {said}. Run the same command again; "
                "if it fails again, look at the repository with git status."
            )
        return done.stdout

    @property
    def exists(self) -> bool:
        """Whether the repository has been made."""
        return (self.root / ".git" / "HEAD").is_file()

    def initialise(self) -> None:
        """Make an empty repository at `root`, which must be an existing folder."""
        self.run("init", "--quiet")

    def head(self) -> str | None:
        """Return the current commit, None before the first."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
        except TemporaryError:
            return None

    def tags(self, project: str) -> list[Tag]:
        """Return the versions of a project, oldest first."""
        return sorted(self._tags(f"{project}/"), key=lambda tag: tag.number)

    def all_tags(self) -> list[Tag]:
        """Return the versions of all projects."""
        return self._tags("")

    def _tags(self, folder: str) -> list[Tag]:
        if not self.exists:
            return []
        form = "%(refname:strip=2)%00%(*objectname)%00%(taggerdate:unix)%00%(contents:subject)%00%(contents:body)%00%01"
        found = []
        for entry in self.run("for-each-ref", f"--format={form}", f"refs/tags/{folder}").decode().split("\0\1")[:-1]:
            name, commit, seconds, message, details = entry.strip("\n").split("\0")
            match = re.fullmatch(r"(.+)/v(\d+)", name)
            if match and commit:
                created = datetime.fromtimestamp(int(seconds), UTC)
                found.append(Tag(match.group(1), int(match.group(2)), commit, created, message, details.strip()))
        return found

    def files(self, commit: str, folder: str) -> dict[str, str]:
        """Return the paths below `folder` in a commit and their blob ids."""
        listing = self.run("ls-tree", "-r", "-z", commit, "--", f"{folder}/").decode()
        entries = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
        return {path: attributes.split()[2] for attributes, path in entries}

    def blobs(self, ids: list[str]) -> list[bytes]:
        """Return the contents of blobs, in the order asked, with one git process."""
        if not ids:
            return []
        stream = self.run("cat-file", "--batch", stdin="\n".join(ids).encode() + b"\n")
        contents, position = [], 0
        for _ in ids:
            end = stream.index(b"\n", position)
            size = int(stream[position:end].split()[2])
            contents.append(stream[end + 1 : end + 1 + size])
            position = end + 1 + size + 1
        return contents

    def commit(self, paths: list[str], message: str, when: datetime | None = None) -> str:
        """Commit the state of `paths` (relative; deletions too) and return the commit."""
        self.run("add", "--all", "--", *paths)
        self.run("commit", "--quiet", "--allow-empty", "-m", message, when=when)
        return self.run("rev-parse", "HEAD").decode().strip()

    def tag(self, name: str, message: str, when: datetime | None = None) -> None:
        """Put an annotated tag on the current commit."""
        self.run("tag", "-a", name, "-m", message, when=when)

    def reset(self, commit: str) -> None:
        """Put index and tracked files back to `commit`, remove untracked files and locks of a killed git.

        Call it only while holding the data lock.
        """
        for lock in (self.root / ".git").rglob("*.lock"):
            lock.unlink(missing_ok=True)
        self.run("reset", "--hard", "--quiet", commit)
        self.run("clean", "-d", "--force", "--quiet")
