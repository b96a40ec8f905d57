"""Run by test_datasets_killed.py: an ingest of incoming/ that dies like `kill -9` when it comes to a function."""

import os
import sys
from pathlib import Path

from satseg.config.project import ProjectConfig
from satseg.datasets import aftermath, ingest, publication, validation
from satseg.datasets.repository import GitRepository
from satseg.stages import IngestSpec
from satseg.storage.layout import Workspace

PLACES = {
    "before the files": (publication, "_put_files"),
    "before DVC": (publication.versions, "add"),
    "before the commit": (GitRepository, "commit"),
    "before the tag": (GitRepository, "tag"),
    "after the tag": (ingest, "finish"),
    "before emptying": (aftermath, "move"),
    "at the end": (aftermath, "clear"),
}

if __name__ == "__main__":
    owner, name = PLACES[sys.argv[2]]
    setattr(owner, name, lambda *args, **options: os.kill(os.getpid(), 9))
    # Great Expectations writes nothing that a version depends on, and takes seconds to load
    validation.Loading.start = lambda self: None
    validation.validate = lambda *args: validation.Findings()
    project = ProjectConfig(name="roofs", classes=("building",))
    ingest.run(IngestSpec(project=project, source=None), Workspace(Path(sys.argv[1])))
