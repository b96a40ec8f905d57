"""The PNGs of a report: sample windows side by side, and a map of errors for each scene."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from satseg.evaluation.drawing import CORRECT, FALSE, MISSED, RGB, agreement, coloured_classes, patch_set_colour
from satseg.evaluation.samples import choose
from satseg.evaluation.scores import mean_scores
from satseg.evaluation.tally import Tally
from satseg.evaluation.windows import Batch, HeldOut, ShardReader, by_scene
from satseg.patches.patchset import PatchSet

TILE_PX, GAP_PX, LINE_PX = 224, 6, 22
MAP_MAX_PX = 1200
SAMPLES_FILE = "samples.png"
COLUMNS = ("image", "label", "prediction", "")
LEGEND = (("right", CORRECT), ("false", FALSE), ("missed", MISSED))
INK, PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Sample:
    """One row of the sample picture; arrays (H, W, 3) uint8 in the order of COLUMNS."""

    caption: str
    tiles: tuple[RGB, RGB, RGB, RGB]


def sample(caption: str, batch: Batch, predicted: NDArray[np.uint8], patch_set: PatchSet) -> Sample:
    """Draw the first window of a batch; `predicted` is (N, H, W) class ids."""
    colour = patch_set_colour(batch.images[0], patch_set)
    label, ids = batch.labels[0], predicted[0]
    errors = agreement(colour, label, ids, batch.valid[0])
    return Sample(caption, (colour, coloured_classes(label), coloured_classes(ids), errors))


def write_samples(samples: list[Sample], path: Path) -> None:
    """Write the sample windows below each other as a PNG."""
    width = len(COLUMNS) * (TILE_PX + GAP_PX) + GAP_PX
    row_px = TILE_PX + LINE_PX + GAP_PX
    sheet = Image.new("RGB", (width, LINE_PX + row_px * len(samples) + GAP_PX), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, title in enumerate(COLUMNS):
        pen.text((GAP_PX + column * (TILE_PX + GAP_PX), 3), title, fill=INK, font=font)
    _legend(pen, 3 * (TILE_PX + GAP_PX) + GAP_PX, 0)
    for number, row in enumerate(samples):
        top = LINE_PX + number * row_px
        pen.text((GAP_PX, top + 3), row.caption, fill=INK, font=font)
        for column, tile in enumerate(row.tiles):
            picture = Image.fromarray(tile).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST)
            sheet.paste(picture, (GAP_PX + column * (TILE_PX + GAP_PX), top + LINE_PX))
    sheet.save(path, compress_level=3)


def _legend(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    font = ImageFont.load_default(size=14)
    for number, (word, colour) in enumerate(LEGEND):
        x = left + 72 * number
        pen.rectangle((x, top + 5, x + 11, top + 16), fill=colour)
        pen.text((x + 16, top + 3), word, fill=INK, font=font)


@dataclass
class SceneMap:
    """The test windows of one scene at their places, shrunk to at most MAP_MAX_PX; what is not test stays white."""

    windows: Sequence[HeldOut]
    patch_set: PatchSet
    _canvas: RGB = field(init=False)
    _step: int = field(init=False)

    def __post_init__(self) -> None:
        self._top = min(window.row for window in self.windows)
        self._left = min(window.col for window in self.windows)
        height = max(window.row + window.size for window in self.windows) - self._top
        width = max(window.col + window.size for window in self.windows) - self._left
        self._step = max(1, -(-max(height, width) // MAP_MAX_PX))
        self._canvas = np.full((-(-height // self._step), -(-width // self._step), 3), 255, np.uint8)

    def paint(self, batch: Batch, predicted: NDArray[np.uint8]) -> None:
        """Draw the windows of a batch, every n-th pixel of them."""
        for position, window in enumerate(batch.windows):
            top, left = window.row - self._top, window.col - self._left
            rows, cols = slice(-top % self._step, None, self._step), slice(-left % self._step, None, self._step)
            tile = agreement(
                patch_set_colour(batch.images[position][rows, cols], self.patch_set),
                batch.labels[position][rows, cols],
                predicted[position][rows, cols],
                batch.valid[position][rows, cols],
            )
            y, x = -(-top // self._step), -(-left // self._step)
            place = self._canvas[y : y + tile.shape[0], x : x + tile.shape[1]]
            fresh = (place == 255).all(axis=-1)  # pixels that an earlier window has counted keep its colour
            shown = fresh | batch.valid[position][rows, cols]
            place[shown] = tile[shown]

    def save(self, caption: str, path: Path) -> None:
        """Write the map with a caption and a legend as a PNG."""
        height, width = self._canvas.shape[:2]
        sheet = Image.new("RGB", (max(width, 420), height + 2 * LINE_PX), PAPER)
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
        pen.text((4, 3), caption, fill=INK, font=font)
        _legend(pen, 4, LINE_PX)
        sheet.paste(Image.fromarray(self._canvas), (0, 2 * LINE_PX))
        sheet.save(path, compress_level=3)


class Pictures:
    """Draws a map of every scene while its windows are predicted, and sample windows when all are known.

    Hand `add` each window; they come scene by scene. One canvas is held at a time; the predicted classes of all windows
    wait in a file, because which windows are the best and the worst is known last.
    """

    def __init__(self, folder: Path, patch_set: PatchSet, tally: Tally, windows: Sequence[HeldOut]) -> None:
        self.maps: dict[str, Path] = {}
        self._folder, self._patch_set, self._tally, self._reader = folder, patch_set, tally, ShardReader(patch_set)
        self._windows = dict(by_scene(windows))
        self._current: tuple[str, SceneMap] | None = None

    @property
    def paths(self) -> list[Path]:
        """All pictures."""
        return [self._folder / SAMPLES_FILE, *self.maps.values()]

    def __enter__(self) -> Self:
        windows = [window for of_scene in self._windows.values() for window in of_scene]
        self._store = (self._folder / "predicted.bin").open("w+b")
        self._store.truncate(2 * sum(window.size**2 for window in windows))  # what nobody hands in is not scored
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()
        Path(self._store.name).unlink()

    def add(self, window: HeldOut, predicted: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
        """Take a window's class ids and which of its pixels count, (size, size) each."""
        if self._current is None or self._current[0] != window.scene:
            self._save()
            self._current = (window.scene, SceneMap(self._windows[window.scene], self._patch_set))
        self._current[1].paint(self._batch(window, valid), predicted[None])
        self._store.seek(window.number * predicted.size * 2)
        self._store.write(predicted.tobytes() + valid.tobytes())

    def finish(self) -> None:
        """Write the last map, and the samples."""
        self._save()
        every, scores = [window for windows in self._windows.values() for window in windows], self._tally.window_iou()
        samples = []
        for kind, window in choose(every, scores):
            predicted, valid = self._stored(window)
            caption = f"{kind}: {window.scene}, row {window.row}, column {window.col}, IoU {scores[window.number]:.3f}"
            samples.append(sample(caption, self._batch(window, valid), predicted[None], self._patch_set))
        write_samples(samples, self._folder / SAMPLES_FILE)

    def _batch(self, window: HeldOut, valid: NDArray[np.bool_]) -> Batch:
        return Batch((window,), self._reader.image(window)[None], self._reader.mask(window)[None], valid[None])

    def _stored(self, window: HeldOut) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        self._store.seek(2 * window.number * window.size**2)
        both = np.frombuffer(self._store.read(2 * window.size**2), np.uint8).reshape(2, window.size, window.size)
        return both[0], both[1].astype(bool)

    def _save(self) -> None:
        if self._current is None:
            return
        scene, drawn = self._current
        matrix = self._tally.confusion[self._tally.where(lambda key: key.scene == scene)].sum(axis=0)
        iou = f"IoU {mean_scores(matrix).iou:.3f}" if matrix[1:].any() else "nothing labelled"
        self.maps[scene] = self._folder / f"scene-{scene}.png"
        drawn.save(f"{scene}: test blocks, {iou}", self.maps[scene])
        self._current = None
