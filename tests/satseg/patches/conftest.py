"""Fixtures of the patches room."""

from pathlib import Path

import pytest
from patch_scenes import SceneSpec, Versions, scattered

from satseg.storage.layout import Workspace


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    made = Versions(tmp_path / "dataset")
    monkeypatch.setattr("satseg.patches.plan.open_version", made.open)
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def town(versions: Versions) -> str:
    """A version with two labelled scenes and an unlabelled one."""
    return versions.add(
        SceneSpec("east", 192, 256, polygons=scattered(40, 192, 256, 1), seed=1),
        SceneSpec("north", 130, 120, offset_px=(2000, 0), polygons=scattered(15, 130, 120, 2), seed=2),
        SceneSpec("wild", 128, 128, offset_px=(0, 3000), polygons=None, seed=3),
    )
