"""Fixtures for all rooms."""

from pathlib import Path

import pytest

from satseg.storage.layout import Workspace

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "workspace")
