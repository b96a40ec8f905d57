"""Fixtures of the patches room."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from patch_scenes import Versions, opened, patch, town_scenes

from satseg.patches.patchset import PatchSet
from satseg.storage.layout import Workspace


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    made = Versions(tmp_path / "dataset")
    monkeypatch.setattr("satseg.patches.plan.open_version", made.open)
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSet]:
    """A finished patch set of the town, for tests that only read it."""
    folder = tmp_path_factory.mktemp("town")
    versions = Versions(folder / "dataset")
    versions.add(*town_scenes())
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr("satseg.patches.plan.open_version", versions.open)
        workspace = Workspace(folder / "ws")
        yield opened(workspace, patch(workspace))


@pytest.fixture
def town(versions: Versions) -> str:
    """A version with two labelled scenes and an unlabelled one."""
    return versions.add(*town_scenes())
