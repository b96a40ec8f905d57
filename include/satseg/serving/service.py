"""From the bytes of an image to the bytes of its map, with the model that is champion at that moment."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.errors import BadDataError
from satseg.models.interface import class_ids
from satseg.serving.answers import Kind, Segmentation, encode
from satseg.serving.champion import Champion, ServedModel
from satseg.serving.images import RequestImage, inspect, read_image, received
from satseg.serving.metrics import Metrics
from satseg.serving.request_log import RequestLog
from satseg.serving.tiles import predict_tiles


@dataclass(frozen=True)
class Answer:
    """A finished answer and what stands in its headers."""

    body: bytes
    kind: Kind
    version: str
    engine: str
    confidence: float | None
    notes: tuple[str, ...]


class PixelBudget:
    """Lets requests decode and predict only so many pixels at once; the rest waits in its thread."""

    def __init__(self, pixels: int) -> None:
        self._free = self._whole = pixels
        self._changed = Condition()

    @contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Hold a part of the budget."""
        wanted = min(pixels, self._whole)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


class Service:
    """Answers requests; called from several threads."""

    def __init__(
        self,
        project: ProjectConfig,
        champion: Champion,
        metrics: Metrics,
        log: RequestLog,
        *,
        tile_px: int,
        max_pixels: int,
    ) -> None:
        """Put the parts together; the champion is started and stopped by the caller."""
        self.project, self.champion, self.metrics, self.log = project, champion, metrics, log
        self._tile_px, self._max_pixels = tile_px, max_pixels
        self._budget = PixelBudget(2 * max_pixels)

    def segment(self, body: bytes, kind: Kind, request_id: str) -> Answer:
        """Answer one image.

        Raises:
            RequestRefused: no image, too large, or no model is loaded yet.
            BadDataError: the image is damaged or does not fit the model.
        """
        with self.champion.using() as served, received(body) as path:
            model = served.model
            plan = inspect(path, model.description, model.label, self._max_pixels)
            with self._budget.holding(plan.grid.height * plan.grid.width):
                with self._step("decode"):
                    image = read_image(plan)
                with self._step("predict"):
                    probabilities = self._predict(image.pixels, served)
                with self._step("encode"):
                    found = self._segmentation(image, probabilities, served)
                    answer = encode(found, kind, self.project.inference)
                self.metrics.pixels.inc(image.valid.size)
                sureness = confidence(probabilities, image.valid)
                self.log.add(request_id, image, found, sureness)
        return Answer(answer, kind, model.label, served.engine, sureness, image.notes)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.metrics.steps.labels(name).observe(time.perf_counter() - started)

    def _predict(self, pixels: NDArray[Any], served: ServedModel) -> NDArray[np.float32]:
        def predict(tiles: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
            return [future.result() for future in [served.batcher.submit(tile) for tile in tiles]]

        return predict_tiles(pixels, served.model.description.channels, self._tile_px, predict)

    def _segmentation(
        self, image: RequestImage, probabilities: NDArray[np.float32], served: ServedModel
    ) -> Segmentation:
        """Return classes on the grid that was sent; an image read at the model's GSD is brought back to its own."""
        valid, description = image.valid, served.model.description
        if image.grid != image.sent:
            size = (image.sent.width, image.sent.height)
            probabilities = cv2.resize(probabilities, size, interpolation=cv2.INTER_LINEAR).reshape(*size[::-1], -1)
            valid = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        if not np.isfinite(probabilities[valid]).all():
            raise BadDataError("The model gave NaN or infinite probabilities; look for extreme pixel values.")
        ids = class_ids(probabilities, self.project.inference.threshold)
        return Segmentation(
            ids=np.where(valid, ids, 0).astype(np.uint8),
            probabilities=probabilities[..., -len(description.classes) :],
            grid=image.sent,
            classes=description.classes,
            model=served.model.label,
            gsd_m=description.gsd_m,
        )


def confidence(probabilities: NDArray[np.float32], valid: NDArray[np.bool_]) -> float | None:
    """Return the mean probability of the more probable class over the pixels with data; None when there are none."""
    if not valid.any():
        return None
    one_class = probabilities.shape[-1] == 1
    best = np.maximum(probabilities, 1 - probabilities)[..., 0] if one_class else probabilities.max(axis=-1)
    return float(best.mean() if valid.all() else best[valid].mean())
