"""The real `satseg ingest` as a process, and everything that it leaves behind that counts."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_drops import HOUSE, write_labels, write_scene

from satseg.datasets.checksums import sha256_of
from satseg.datasets.repository import GitRepository
from satseg.storage.layout import Workspace

INGEST_TIME = "2026-01-02T03:04:05Z"  # two runs can only be compared if their clocks agree


@dataclass
class Project:
    """A workspace with the project 'roofs' and the environment of its processes."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"SATSEG_INGEST_TIME": INGEST_TIME})

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root / "workspace")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `satseg ARGUMENTS` in a session of its own."""
        file = self.root / "roofs.yaml"
        file.write_text("name: roofs\nclasses: [building]\n")
        return subprocess.Popen(
            [sys.executable, "-m", "satseg", *arguments],
            cwd=self.root,
            env=os.environ
            | self.environment
            | {"SATSEG_WORKSPACE": str(self.workspace.root), "SATSEG_PROJECT": str(file)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run `satseg ARGUMENTS --json` and return its result."""
        process = self.start(*arguments, "--json")
        out, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        found: dict[str, Any] = json.loads(out)
        return found

    def interrupt(self, after_s: float, signal: int) -> tuple[int, str]:
        """Start an ingest of incoming/, send it a signal after some seconds, and return its exit code and stderr."""
        process = self.start("ingest")
        time.sleep(after_s)
        process.send_signal(signal)
        _, said = process.communicate(timeout=300)
        return process.returncode, said

    def state(self) -> dict[str, Any]:
        """Return checksums, git tree, tags, catalog, and what lies in the drop zone and in quarantine."""
        repository, workspace = GitRepository(self.workspace.data), self.workspace
        return {
            "tree": repository.run("rev-parse", "HEAD^{tree}").decode(),
            "tags": [(tag.name, tag.commit, tag.message, tag.details) for tag in repository.tags("roofs")],
            "status": repository.run("status", "--porcelain").decode(),
            "data": _checksums(workspace.dataset("roofs")),
            "incoming": sorted(_checksums(workspace.incoming("roofs"))),
            "originals": _checksums(workspace.root / "originals"),
            "quarantine": {n: c for n, c in _checksums(workspace.quarantine("roofs")).items() if "reasons" not in n},
            "catalog": [
                json.loads(item.read_text()) for item in sorted(workspace.dataset("roofs").glob("items/*.json"))
            ],
            "left": sorted(
                str(p) for p in workspace.root.rglob("*") if p.name.startswith(".tmp-") or p.parent.name == "staging"
            ),
        }


def filled(root: Path) -> Project:
    """Return a project with a version v1 and a drop zone full of good and bad scenes."""
    project = Project(root)
    write_scene(root / "first" / "old.tif", seed=1)
    project.run("ingest", str(root / "first"))
    incoming = project.workspace.incoming("roofs")
    write_scene(incoming / "old.tif", seed=2)
    for number in range(3, 6):
        write_scene(incoming / f"house-{number}.tif", seed=number, width=400, height=400)
        write_labels(incoming / f"house-{number}.json", HOUSE, size=400)
    write_labels(incoming / "old.json", HOUSE)
    (incoming / "text.tif").write_text("text")
    return project


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path) for path in files}
