"""An Airflow of its own for these tests, and a `satseg` that does what the test says."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import airflow_home  # noqa: F401 - before anything imports airflow

FakeSatseg = Callable[[str], None]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    from satseg.config.settings import settings

    folder = tmp_path / "workspace"
    monkeypatch.setenv("SATSEG_WORKSPACE", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.fixture
def fake_satseg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Path) -> FakeSatseg:
    """Return a function that makes `python -m satseg` run the given code; `result` writes the result file."""

    def make(code: str) -> None:
        package = tmp_path / "fake" / "satseg"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        prologue = (
            "import json, os, sys, time, signal, subprocess\n"
            "from pathlib import Path\n"
            "def result(**value):\n"
            "    Path(sys.argv[sys.argv.index('--result') + 1]).write_text(json.dumps(value))\n"
        )
        (package / "__main__.py").write_text(prologue + code)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return make


@pytest.fixture
def task_context() -> dict[str, object]:
    """The part of a task's context that the operators use."""

    class TaskInstance:
        dag_id, task_id, run_id, map_index, try_number, log_url = "buildings.x", "train", "manual__1", -1, 1, "http://l"

        def __init__(self) -> None:
            self.pushed: dict[str, object] = {}

        def xcom_push(self, key: str, value: object) -> None:
            self.pushed[key] = value

    return {"ti": TaskInstance()}


@pytest.fixture
def python() -> str:
    return sys.executable
