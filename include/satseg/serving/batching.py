"""Tiles of several requests in one model call."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.models.interface import Segmenter

Tile = NDArray[Any]
Probabilities = NDArray[np.float32]


class _Waiting(NamedTuple):
    """A tile and where its probabilities go."""

    tile: Tile
    answer: "Future[Probabilities]"


class Batcher:
    """Predicts tiles in one thread; what arrives while the model computes makes up the next batch.

    No tile waits for others: a single client is answered as fast as by the bare model.
    """

    def __init__(
        self, segmenter: Segmenter, most_tiles: int, on_batch: Callable[[int], None] = lambda tiles: None
    ) -> None:
        """Start the thread.

        Args:
            segmenter: the model.
            most_tiles: of one call.
            on_batch: called with the number of tiles of each call.
        """
        self._segmenter, self._most_tiles, self._on_batch = segmenter, most_tiles, on_batch
        self._waiting: deque[_Waiting] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, tile: Tile) -> "Future[Probabilities]":
        """Queue a tile (H, W, C); the future gives its probabilities (H, W, K).

        Raises:
            RuntimeError: the batcher is closed.
        """
        answer: Future[Probabilities] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(_Waiting(tile, answer))
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Finish what is queued and stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._on_batch(len(batch))
            try:
                probabilities = self._segmenter.predict(np.stack([waiting.tile for waiting in batch]))
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for waiting in batch:
                    waiting.answer.set_exception(error)
                continue
            for waiting, result in zip(batch, probabilities, strict=True):
                waiting.answer.set_result(result)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for a tile and return it with others of its shape and type; none when the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = self._waiting[0].tile
            alike = [
                waiting
                for waiting in self._waiting
                if waiting.tile.shape == first.shape and waiting.tile.dtype == first.dtype
            ][: self._most_tiles]
            chosen = {id(waiting) for waiting in alike}
            self._waiting = deque(waiting for waiting in self._waiting if id(waiting) not in chosen)
        return alike
