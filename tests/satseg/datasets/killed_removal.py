"""Run by test_datasets_removal.py: takes out a scene and dies like `kill -9` when it comes to a function."""

import os
import sys
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.datasets import publication, removal
from satseg.datasets.repository import GitRepository
from satseg.stages import RemoveScenesSpec
from satseg.storage.layout import Workspace

PLACES = {
    "before the files": (publication, "_put_files"),
    "before DVC": (publication.versions, "add"),
    "before the commit": (GitRepository, "commit"),
    "before the tag": (GitRepository, "tag"),
    "after the tag": (removal, "clear"),
    "at the end": (removal, "push"),
}

if __name__ == "__main__":
    owner, name = PLACES[sys.argv[2]]
    setattr(owner, name, lambda *args, **options: os.kill(os.getpid(), 9))
    project = ProjectConfig(name="roofs", classes=("building",))
    removal.run(RemoveScenesSpec(project=project, scenes=["good"]), Workspace(Path(sys.argv[1])))
