"""Fixtures for all rooms."""

import logging
from pathlib import Path

import absl.logging
import pytest

from satseg.storage.layout import Workspace

ROOT = Path(__file__).resolve().parents[1]

# TensorFlow's log handler closes the stream it was made with when logging is set up anew (uvicorn, alembic) while
# sys.stderr is another one. In a thread, between two phases of a test, that is pytest's, and every later test fails.
absl.logging.PythonHandler.close = logging.Handler.close


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "workspace")
