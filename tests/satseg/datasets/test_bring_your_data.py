"""docs/how-to/bring-your-data.md, run as it stands: every command, and every line it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "bring-your-data.md"
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.full
def test_the_page_does_what_it_says(tmp_path):
    environment = os.environ | {
        "SATSEG_WORKSPACE": str(tmp_path / "workspace"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    said, promises = "", 0
    for kind, content in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "bash":
            command = ["bash", "-e", "-c", content]
            outcome = subprocess.run(
                command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            said = outcome.stdout + outcome.stderr
            assert outcome.returncode == 0, content + said
            assert "Traceback" not in said
        else:
            for line in content.splitlines():
                assert line in said, f"{line!r} is not in:\n{said}"
                promises += 1
    assert promises > 15
