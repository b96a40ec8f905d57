"""The two rasters of a prediction: probabilities and classes, kept as parts until they become one file each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.inference.blend import FinishedRows
from satseg.inference.encoding import PROBABILITY_LEVELS, encode
from satseg.inference.palette import colour_table
from satseg.inference.parts import MapAbout, Parts
from satseg.inference.windows import Region
from satseg.models.interface import class_ids
from satseg.scenes.cog import copy_to_cog
from satseg.scenes.grid import Grid
from satseg.scenes.layers import open_virtual

_STRIP_PIXELS = 4_000_000
_STRIP_ROWS = 64
_FAST = 1  # a tenth larger than level 6, in a third of the time


class Maps:
    """The probability map, one band per class (background left out), and the class map (0 = background, nodata)."""

    def __init__(self, parts: Parts, grid: Grid, classes: tuple[str, ...], threshold: float) -> None:
        self.parts = parts
        self._grid, self._classes, self._threshold = grid, classes, threshold

    def write(self, region: Region, rows: Iterator[FinishedRows]) -> Iterator[Region]:
        """Write the blended rows of a region; yields each part when it is on disk."""
        return self.parts.write(region, rows, self._encoded)

    def _encoded(self, rows: FinishedRows) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        ids = class_ids(rows.probabilities, self._threshold)
        if not rows.valid.all():
            ids[~rows.valid] = 0
        # softmax models give the background first; it is what the other bands leave
        of_classes = rows.probabilities[..., -len(self._classes) :]
        return np.moveaxis(encode(of_classes, rows.valid, self.parts.dtype), -1, 0), ids

    def strips(
        self, wait_for: Callable[[int], None] = lambda row: None
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[Any]]]:
        """Yield what was written in strips of bounded size: first row, class ids (rows, W), probabilities (rows, W, N).

        The probabilities are as stored; see `decode`.

        `wait_for` is called with the first row below each strip, and returns when all rows above are written.
        """
        rows = max(_STRIP_ROWS, _STRIP_PIXELS // self._grid.width // _STRIP_ROWS * _STRIP_ROWS)
        for top in range(0, self._grid.height, rows):
            bottom = min(top + rows, self._grid.height)
            wait_for(bottom)
            classes = self.parts.read("classes", top, bottom)[0]
            yield top, classes, np.moveaxis(self.parts.read("probability", top, bottom), 0, -1)

    def write_probability(self, target: Path, tags: dict[str, str]) -> None:
        """Make the Cloud-Optimized GeoTIFF of the probabilities, with overviews and `tags`."""
        scaled = self.parts.dtype == "uint8"
        about = MapAbout(
            bands=self._classes,
            tags=tags,
            nodata=self.parts.nodata,
            scale=1 / PROBABILITY_LEVELS if scaled else None,
        )
        with open_virtual(self.parts.mosaic("probability", self._grid, about)) as mosaic:
            copy_to_cog(mosaic, target, None, _FAST)

    def write_classes(self, target: Path, tags: dict[str, str]) -> None:
        """Make the Cloud-Optimized GeoTIFF of the classes, with overviews, colours and `tags`."""
        names = {f"class_{number}": name for number, name in enumerate(("background", *self._classes))}
        about = MapAbout(bands=("class",), tags={**tags, **names}, colours=colour_table(len(self._classes)))
        with open_virtual(self.parts.mosaic("classes", self._grid, about)) as mosaic:
            copy_to_cog(mosaic, target, None, _FAST)
