"""All windows of scenes as candidates: what the model makes of each, with bounded memory."""

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.inference.sources import ReadPlan, SceneInput, SceneRows
from satseg.models.interface import EmbeddingSegmenter
from satseg.models.uncertainty import window_uncertainty
from satseg.patches.windows import axis_starts
from satseg.progress import progress_bar

_MULTIPLE = 32  # of a side, which the encoder halves five times


class Place(NamedTuple):
    """A window of a scene: first row and column, height and width, on the grid on which the model reads the scene."""

    scene: str
    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class Candidate:
    """A window and what the model makes of it."""

    place: Place
    uncertainty: float
    embedding: NDArray[np.float16]  # (D,)


class Seen(NamedTuple):
    """A window as the model was shown it."""

    place: Place
    pixels: NDArray[Any]  # (height, width, C), without the context
    valid: NDArray[np.bool_]  # (height, width)
    probabilities: NDArray[np.float32]  # (height, width, K)
    embedding: NDArray[np.float32]  # (D,)


@dataclass(frozen=True)
class Frame:
    """A window's side and the context around it; together a multiple of 32."""

    window_px: int
    context_px: int

    @classmethod
    def of(cls, project: ProjectConfig) -> "Frame":
        """Return what a project's file asks for."""
        return cls(project.selection.window_px or project.patches.size_px, project.selection.context_px)

    @property
    def side(self) -> int:
        """Side of what the model is shown."""
        return -(-(self.window_px + 2 * self.context_px) // _MULTIPLE) * _MULTIPLE

    def places(self, scene: str, height: int, width: int) -> list[Place]:
        """Return the windows of a scene: side by side, the last ones shifted inward; one in a scene that is smaller."""
        size = (min(self.window_px, height), min(self.window_px, width))
        starts = [axis_starts(extent, self.window_px, self.window_px) for extent in (height, width)]
        return [Place(scene, row, col, *size) for row, col in product(*starts)]

    def read(self, rows: SceneRows, place: Place) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return what the model is shown, (side, side, C), and which pixels of the window itself are data."""
        margin = (self.side - self.window_px) // 2
        pixels = rows.read_window(place.row - margin, place.col - margin, self.side, self.side)
        return pixels, rows.valid_window(place.row, place.col, place.height, place.width)

    def inside(self, shown: NDArray[Any], place: Place) -> NDArray[Any]:
        """Return the window's part of an array (side, side, ...)."""
        margin = (self.side - self.window_px) // 2
        return shown[margin : margin + place.height, margin : margin + place.width]


class Pool:
    """At most `limit` candidates; of more, a sample without replacement weighted by uncertainty.

    Source: Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006. A window's lot is its own, so the
    order of the scenes changes nothing.
    """

    def __init__(self, limit: int, seed: int) -> None:
        self._limit, self._seed = limit, seed
        self._heap: list[tuple[float, Place, Candidate]] = []
        self.offered = 0

    def offer(self, candidate: Candidate, checksum: str) -> None:
        """Take a candidate of the scene with this checksum, perhaps for another one."""
        self.offered += 1
        place = candidate.place
        lot = np.random.default_rng([self._seed, int(checksum[:12], 16), place.row, place.col]).random()
        key = float(np.log(max(lot, 1e-300)) / max(candidate.uncertainty, 1e-9))
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, (key, place, candidate))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, place, candidate))

    def candidates(self) -> list[Candidate]:
        """Return what is held, by scene and place."""
        return sorted((entry[-1] for entry in self._heap), key=lambda candidate: candidate.place)


def look(
    plan: ReadPlan, places: Sequence[Place], frame: Frame, segmenter: EmbeddingSegmenter, batch_size: int
) -> Iterator[Seen]:
    """Show windows of one scene to a model, a batch at a time; windows without data are left out."""
    with plan.open() as rows:
        read = ((place, *frame.read(rows, place)) for place in places)
        filled = (entry for entry in read if entry[2].any())
        while batch := list(islice(filled, batch_size)):
            shown = np.stack([pixels for _, pixels, _ in batch])
            full = shown if len(batch) == batch_size else _filled(shown, batch_size)  # one shape, compiled once
            probabilities, embeddings = segmenter.predict_and_embed(full)
            for number, (place, pixels, valid) in enumerate(batch):
                inside = frame.inside(probabilities[number], place)
                yield Seen(place, frame.inside(pixels, place), valid, inside, embeddings[number])


def gather(
    scenes: Sequence[tuple[SceneInput, ReadPlan]],
    project: ProjectConfig,
    segmenter: EmbeddingSegmenter,
    left_out: Collection[tuple[str, int, int]] = (),
) -> Pool:
    """Look at all windows of scenes.

    Args:
        scenes: with how the model reads them.
        project: its `selection`, `patches.max_nodata_fraction` and `inference.batch_size` count.
        segmenter: the model.
        left_out: checksum, row and column of windows that were chosen before.
    """
    config, frame = project.selection, Frame.of(project)
    pool = Pool(config.pool, config.seed)
    for scene, plan in scenes:
        places = [
            place
            for place in frame.places(scene.id, plan.grid.height, plan.grid.width)
            if (scene.checksum, place.row, place.col) not in left_out
        ]
        with progress_bar(f"{scene.id}: windows", len(places)) as advance:
            for seen in look(plan, places, frame, segmenter, project.inference.batch_size):
                advance()
                if 1.0 - seen.valid.mean() > project.patches.max_nodata_fraction:
                    continue
                doubt = window_uncertainty(seen.probabilities, seen.valid, config.uncertainty)
                pool.offer(Candidate(seen.place, doubt, seen.embedding.astype(np.float16)), scene.checksum)
    return pool


def _filled(images: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate([images, np.repeat(images[:1], count - len(images), axis=0)])
