"""Servers for the tests of this room; see serving_world.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_world import Live

from satseg.storage.layout import Workspace


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that several tests share; they leave champion 1 behind."""
    made = Live(tmp_path_factory.mktemp("live"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace for the tests with a real MLflow, whose database takes seconds to make; one project per module."""
    return Workspace(tmp_path_factory.mktemp("tracked"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Start a server of one's own."""
    started: list[Live] = []

    def begin(**options: object) -> Live:
        made = Live(tmp_path, **options)  # type: ignore[arg-type]
        started.append(made)
        made.start()
        return made

    yield begin
    for made in started:
        if made.thread.is_alive():
            made.stop()


@pytest.fixture
def image() -> np.ndarray:
    """A dark image (90, 100, 3) with a bright rectangle of 20 x 30 pixels at row 10, column 40."""
    pixels = np.random.default_rng(0).integers(0, 100, (90, 100, 3)).astype(np.uint8)
    pixels[10:30, 40:70, 0] = 230
    return pixels
