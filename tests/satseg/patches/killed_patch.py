"""Run by test_patches_killed.py: `satseg patch` in a process of its own, on dataset versions made without DVC."""

import pickle
import sys
from pathlib import Path

from satseg.cli.app import main
from satseg.patches import plan

if __name__ == "__main__":
    versions = pickle.loads(Path(sys.argv[1]).read_bytes())
    plan.open_version = versions.open
    sys.exit(main(["patch", *sys.argv[2:]]))
