"""The model that answers: the champion, replaced while requests go on when the alias moves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Literal

import numpy as np

from satseg.errors import SatsegError
from satseg.inference.chosen_model import ChosenModel, choose_model
from satseg.models.exports import EngineChoice
from satseg.progress import say
from satseg.serving.batching import Batcher
from satseg.serving.problems import NotReadyError
from satseg.storage.layout import Workspace

LONGEST_PAUSE_S = 60.0
RETRY_AFTER_S = 5

Outcome = Literal["swapped", "failed"]


@dataclass
class ServedModel:
    """A loaded and warmed model, and how many requests use it."""

    model: ChosenModel
    batcher: Batcher
    loaded_at: float = field(default_factory=time.time)
    users: int = 0

    @property
    def engine(self) -> str:
        """What runs it, as a prediction is recorded with."""
        return self.model.engine


def load_model(
    workspace: Workspace,
    project: str,
    version: str,
    *,
    engine: str,
    tile_px: int,
    most_tiles: int,
    threads: int | None,
    on_batch: Callable[[int], None],
) -> ServedModel:
    """Load a version and let it predict tiles of several sizes, so that no request pays for planning.

    Raises:
        NotFoundError: there is no such version, or no export of it for the engine.
        BadDataError: its files are missing or broken, or it gives no finite numbers.
    """
    model = choose_model(workspace, project, version, engine)
    segmenter = (model.choice or EngineChoice("tf", model.folder)).load(threads)
    description = model.description
    half = max(32, tile_px // 64 * 32)
    # TensorFlow plans for one size first, and after a few for any
    for shape in ((1, tile_px, tile_px), (min(2, most_tiles), tile_px, tile_px), (1, half, tile_px), (1, half, half)):
        pixels = np.empty((*shape, len(description.bands)), np.dtype(description.dtype))
        pixels[...] = np.asarray(description.mean)
        segmenter.predict(pixels)
    return ServedModel(model, Batcher(segmenter, most_tiles, on_batch))


class Champion:
    """Holds the model that answers and watches the alias in a thread of its own.

    A new champion is loaded beside the old one. Requests that began with the old one end with it; then it is dropped.
    """

    def __init__(
        self,
        wanted: Callable[[], str | None],
        load: Callable[[str], ServedModel],
        *,
        every_s: float,
        on_change: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """Prepare; nothing is loaded before `start`.

        Args:
            wanted: asks which version is champion; None when there is none.
            load: loads a version by its number.
            every_s: seconds between two looks at the alias.
            on_change: called after each try to change the model.
        """
        self._wanted, self._load, self._every_s, self._on_change = wanted, load, every_s, on_change
        self._model: ServedModel | None = None
        self._changed = Condition()
        self._stopped = Event()
        self._thread = Thread(target=self._watch, name="champion", daemon=True)
        self.problem: str | None = "the champion is being loaded"

    def start(self) -> None:
        """Begin to watch; the first champion is loaded in the thread too."""
        self._thread.start()

    def stop(self) -> None:
        """End watching and drop the model once its last request is answered."""
        self._stopped.set()
        self._thread.join()
        with self._changed:
            model, self._model = self._model, None
        self.problem = "the service is stopping"
        if model is not None:
            self._drop(model)

    @property
    def model(self) -> ServedModel | None:
        """The model that answers now; None before the first is loaded."""
        return self._model

    @contextmanager
    def using(self) -> Iterator[ServedModel]:
        """Hold the model for one request; it stays loaded until then.

        Raises:
            NotReadyError: no model is loaded.
        """
        with self._changed:
            model = self._model
            if model is None:
                raise NotReadyError(
                    f"There is no model to answer with: {self.problem}.", {"Retry-After": str(RETRY_AFTER_S)}
                )
            model.users += 1
        try:
            yield model
        finally:
            with self._changed:
                model.users -= 1
                self._changed.notify_all()

    def _watch(self) -> None:
        pause = self._every_s
        while not self._stopped.is_set():
            try:
                self._look()
                pause = self._every_s
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one goes on
                reason = str(error) if isinstance(error, SatsegError) else f"{type(error).__name__}: {error}"
                if reason != self.problem:
                    say(f"the champion cannot be changed: {reason}")
                self.problem = reason
                self._on_change("failed")
                pause = min(2 * pause, max(LONGEST_PAUSE_S, self._every_s))
            self._stopped.wait(pause)

    def _look(self) -> None:
        version = self._wanted()
        current = self._model
        if version is None:
            self.problem = "the project has no champion; promote a version"
            return  # a model that answers goes on answering
        if current is not None and current.model.version == version:
            self.problem = None
            return
        fresh = self._load(version)
        with self._changed:
            self._model = fresh
        self.problem = None
        say(f"{fresh.model.label} answers now, by {fresh.engine}")
        self._on_change("swapped")
        if current is not None:
            self._drop(current)

    def _drop(self, model: ServedModel) -> None:
        with self._changed:
            self._changed.wait_for(lambda: model.users == 0)
        model.batcher.close()
