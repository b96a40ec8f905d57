"""The PNGs of a report: sample windows side by side, and a map of errors for each scene."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from satseg.evaluation.drawing import CORRECT, FALSE, MISSED, RGB, agreement, coloured_classes, patch_set_colour
from satseg.evaluation.measure import Measurement
from satseg.evaluation.scores import mean_scores
from satseg.evaluation.windows import Batch, HeldOut
from satseg.patches.patchset import PatchSet

TILE_PX, GAP_PX, LINE_PX = 224, 6, 22
MAP_MAX_PX = 1200
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
    sheet.save(path, optimize=True)


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
        sheet.save(path, optimize=True)


class SceneMaps:
    """Draws the map of every scene while its windows are predicted; holds one canvas at a time.

    Call it with each batch; batches come scene by scene. `paths` lists what was written.
    """

    def __init__(self, folder: Path, measurement: Measurement, windows: Sequence[HeldOut], patch_set: PatchSet) -> None:
        self.paths: list[Path] = []
        self._folder, self._measurement, self._patch_set = folder, measurement, patch_set
        self._windows: dict[str, list[HeldOut]] = defaultdict(list)
        for window in windows:
            self._windows[window.scene].append(window)
        self._current: tuple[str, SceneMap] | None = None
        self._missing = 0

    def __call__(self, batch: Batch, predicted: NDArray[np.uint8]) -> None:
        """Paint a batch and write the scene's picture when it was the last one."""
        scene = batch.windows[0].scene
        if self._current is None or self._current[0] != scene:
            self._current = (scene, SceneMap(self._windows[scene], self._patch_set))
            self._missing = len(self._windows[scene])
        self._current[1].paint(batch, predicted)
        self._missing -= len(batch.windows)
        if self._missing == 0:
            iou = mean_scores(self._measurement.total(lambda key: key.scene == scene)).iou
            path = self._folder / f"scene-{scene}.png"
            self._current[1].save(f"{scene}: test blocks, IoU {iou:.3f}", path)
            self.paths.append(path)
