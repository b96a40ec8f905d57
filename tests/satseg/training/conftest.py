from collections.abc import Callable

import pytest
from patch_sets import write_tiny_patch_set

from satseg.config.project import ProjectConfig, parse_project
from satseg.patches.patchset import PatchSet, open_patch_set
from satseg.storage.layout import Workspace

PROJECT = """
name: tiny
classes: [building]
bands: [band0, band1, band2]
patches: {size_px: 64, stride_px: 64, block_px: 64}
training: {backbone: mobilenet, batch_size: 4, epochs: 2, learning_rate: 0.003}
retraining: {epochs: 1}
"""


@pytest.fixture
def patch_set(workspace: Workspace) -> PatchSet:
    return open_patch_set(workspace, "tiny", write_tiny_patch_set(workspace))


@pytest.fixture
def project() -> Callable[..., ProjectConfig]:
    return lambda *overrides: parse_project(PROJECT, "tiny.yaml", overrides)
