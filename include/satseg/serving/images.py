"""The image of a request: its header is judged before a pixel is decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.errors import CRSError, RasterioError

from satseg.errors import BadDataError
from satseg.inference.sources import ReadPlan, SceneInput, plan_reading
from satseg.models.interface import ModelDescription
from satseg.scenes.grid import Grid
from satseg.scenes.source import open_source
from satseg.serving.problems import ImageTooLargeError, NoImageError, RequestRefused

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
NAME = "image"
MOST_EXTRA_BANDS = 2  # alpha and mask


@dataclass(frozen=True)
class RequestImage:
    """Decoded pixels on the model's grid, and the grid of the file that was sent.

    pixels (H, W, C) in the model's dtype, valid (H, W) bool.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    grid: Grid  # of the pixels
    sent: Grid
    notes: tuple[str, ...]


@contextmanager
def received(body: bytes) -> Iterator[Path]:
    """Yield the path of a file with the body, in a folder where nothing else is: GDAL looks for files beside an image.

    What goes wrong while it is read is the image's fault and says nothing of this machine's paths.

    Raises:
        NoImageError: the body is no GeoTIFF, PNG or JPEG.
        BadDataError: the image is damaged.
    """
    if not body.startswith(MAGIC):
        raise NoImageError(f"The body is not a GeoTIFF, PNG or JPEG (it starts with {body[:8]!r}).")
    with TemporaryDirectory(prefix="satseg-request-") as folder:
        path = Path(folder) / NAME
        path.write_bytes(body)
        try:
            yield path
        except RequestRefused:
            raise
        except BadDataError as error:
            told = str(error).replace(f"Scene '{NAME}' ({path})", "The image").replace(f"Scene '{NAME}'", "The image")
            raise BadDataError(told.replace(f"{folder}/", "")) from error
        except (RasterioError, CRSError, ProjError) as error:
            raise BadDataError(f"The image cannot be read ({type(error).__name__}).") from error


def inspect(path: Path, description: ModelDescription, model: str, max_pixels: int) -> ReadPlan:
    """Judge an image by its header and plan how it is read.

    Args:
        path: the file.
        description: of the model.
        model: its name for messages.
        max_pixels: of the image, and of what it becomes at the model's ground sample distance.

    Raises:
        ImageTooLargeError: it has more pixels.
        BadDataError: it is damaged, or has other bands or another pixel type than the model takes.
    """
    with open_source(path) as dataset:  # before more of the header is read than a size
        _check_size("image", dataset.height, dataset.width, max_pixels)
        if dataset.count > len(description.bands) + MOST_EXTRA_BANDS:
            raise BadDataError(f"The image has {dataset.count} bands; the model takes {len(description.bands)}.")
        rows, columns = dataset.block_shapes[0]
        _check_size("image's inner block", rows, columns, max_pixels)
    plan = plan_reading(SceneInput(NAME, path, "", "", None), description, model)
    _check_size(f"image at the model's GSD of {description.gsd_m} m", plan.grid.height, plan.grid.width, max_pixels)
    return plan


def _check_size(what: str, height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageTooLargeError(
            f"The {what} has {width} x {height} pixels, {height * width / 1e6:.1f} million; this service takes "
            f"{max_pixels / 1e6:g} million. Send a part of it, or use satseg predict, which takes any size."
        )


def read_image(plan: ReadPlan) -> RequestImage:
    """Decode an image's pixels on the model's grid.

    Raises:
        BadDataError: they are damaged.
    """
    with plan.open() as rows:
        pixels, valid = rows.read_rows(0, rows.height)
    notes = tuple(warning.replace(f"Scene '{NAME}'", "The image") for warning in plan.warnings)
    return RequestImage(pixels, valid, plan.grid, plan.header.grid, notes)
