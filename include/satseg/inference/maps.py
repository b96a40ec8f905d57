"""The two rasters of a prediction, written row by row: probabilities and classes."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from satseg.inference.blend import FinishedRows
from satseg.inference.palette import colour_table
from satseg.models.interface import class_ids
from satseg.scenes.cog import to_cog
from satseg.scenes.grid import Grid
from satseg.scenes.raster import gdal_environment

PROBABILITY_LEVELS = 254
PROBABILITY_NODATA = 255
_STRIP_PIXELS = 4_000_000


def encode(probabilities: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return probabilities (..., K) in steps of 1/254 as uint8; 255 where `valid` (...) is false."""
    levels = np.clip(np.rint(np.nan_to_num(probabilities) * PROBABILITY_LEVELS), 0, PROBABILITY_LEVELS)
    encoded: NDArray[np.uint8] = np.where(valid[..., None], levels, PROBABILITY_NODATA).astype(np.uint8)
    return encoded


class MapWriter:
    """Takes finished rows in order, keeps them in striped temp files, and makes Cloud-Optimized GeoTIFFs of them.

    The probability map has one band per class (background left out), uint8 with scale 1/254 and nodata 255; the class
    map has one uint8 band, 0 being background or nodata.
    """

    def __init__(self, folder: Path, grid: Grid, classes: tuple[str, ...], threshold: float) -> None:
        self._folder, self._grid, self._classes, self._threshold = folder, grid, classes, threshold
        self._files = ExitStack()

    def __enter__(self) -> "MapWriter":
        self._files.enter_context(gdal_environment())
        profile = {
            "driver": "GTiff",
            "dtype": "uint8",
            "height": self._grid.height,
            "width": self._grid.width,
            "crs": self._grid.crs,
            "transform": self._grid.transform,
            "compress": "deflate",
            "zlevel": 1,
            "blockysize": 64,
            "bigtiff": "if_safer",
            "interleave": "band",
        }
        self._probability = self._files.enter_context(
            rasterio.open(self._raw("probability"), "w", count=len(self._classes), nodata=PROBABILITY_NODATA, **profile)
        )
        self._class_map = self._files.enter_context(rasterio.open(self._raw("classes"), "w", count=1, **profile))
        self._probability.scales = (1 / PROBABILITY_LEVELS,) * len(self._classes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def _raw(self, name: str) -> Path:
        return self._folder / f"raw-{name}.tif"

    def write(self, rows: FinishedRows) -> None:
        """Append finished rows."""
        window = Window(0, rows.row, self._grid.width, rows.valid.shape[0])
        ids = np.where(rows.valid, class_ids(rows.probabilities, self._threshold), 0).astype(np.uint8)
        # softmax models give the background first; it is what the other bands leave
        of_classes = rows.probabilities[..., -len(self._classes) :]
        self._class_map.write(ids, 1, window=window)
        self._probability.write(np.moveaxis(encode(of_classes, rows.valid), -1, 0), window=window)

    def strips(self) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
        """Yield what was written in strips of bounded size: first row, class ids (rows, W), probabilities (rows, W, N).

        Call it after the writer was left.
        """
        rows = max(64, _STRIP_PIXELS // self._grid.width // 64 * 64)
        with (
            gdal_environment(),
            rasterio.open(self._raw("classes")) as classes,
            rasterio.open(self._raw("probability")) as probability,
        ):
            for top in range(0, self._grid.height, rows):
                window = Window(0, top, self._grid.width, min(rows, self._grid.height - top))
                levels = np.moveaxis(probability.read(window=window), 0, -1)
                yield top, classes.read(1, window=window), levels.astype(np.float32) / PROBABILITY_LEVELS

    def finish(self, tags: dict[str, str]) -> tuple[Path, Path]:
        """Make probability.tif and classes.tif with overviews and `tags`, remove the temp files, return both paths."""
        probability, classes = self._folder / "probability.tif", self._folder / "classes.tif"
        names = {f"class_{number}": name for number, name in enumerate(("background", *self._classes))}
        to_cog(self._raw("probability"), probability, descriptions=self._classes, tags=tags)
        to_cog(
            self._raw("classes"),
            classes,
            colormap=colour_table(len(self._classes)),
            overview_resampling="mode",
            descriptions=("class",),
            tags={**tags, **names},
        )
        for name in ("probability", "classes"):
            self._raw(name).unlink()
        return probability, classes
