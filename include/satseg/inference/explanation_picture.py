"""An explanation as one picture: the scene, the class, where the model looks, and where it is unsure."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.enums import Resampling

from satseg.inference.overlay import stretched
from satseg.inference.palette import PREDICTION
from satseg.inference.sources import ReadPlan
from satseg.inference.windows import Region
from satseg.scenes.raster import gdal_environment
from satseg.storage.atomic import replacing_file

MOST_PX, LEAST_PX = 640, 256  # of a panel's longer side
_TITLE_PX, _GAP_PX = 22, 8
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_OPACITY = 0.55


def draw_explanation(plan: ReadPlan, region: Region, raster: Path, target: Path) -> None:
    """Draw panels side by side: the scene, and over it probability, Seg-Grad-CAM, uncertainty and disagreement.

    Args:
        plan: how the scene is read.
        region: the part of it that is explained.
        raster: the explanation's GeoTIFF.
        target: PNG, written atomically.
    """
    height, width = region.bottom - region.top, region.right - region.left
    longest = min(MOST_PX, max(LEAST_PX, height, width))
    factor = longest / max(height, width)
    shape = max(1, round(height * factor)), max(1, round(width * factor))
    with gdal_environment(), rasterio.open(raster) as opened:
        bands = opened.read(out_shape=(opened.count, *shape), resampling=Resampling.average)
    valid = np.isfinite(bands[0])
    probability, looked_at, entropy, disagreement = np.nan_to_num(bands)
    ground = _ground(plan, region, shape, valid)
    panels = {
        "scene": ground,
        "probability of the class": _tinted(ground, probability),
        "Seg-Grad-CAM: where it looks": _heated(ground, looked_at, cv2.COLORMAP_INFERNO),
        "uncertainty (entropy)": _heated(ground, entropy, cv2.COLORMAP_VIRIDIS),
        f"disagreement of the views (to {max(disagreement.max(), 1e-6):.2g})": _heated(
            ground, disagreement / max(disagreement.max(), 1e-6), cv2.COLORMAP_VIRIDIS
        ),
    }
    with replacing_file(target) as temp:
        _side_by_side(panels).save(temp, compress_level=3)


def _ground(plan: ReadPlan, region: Region, shape: tuple[int, int], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the scene's pixels as a picture (H, W, 3), read in steps so that a large scene fits into memory."""
    columns = range(region.left, region.right)
    step = max(1, (region.bottom - region.top) // shape[0])
    thinned = []
    with plan.open(columns) as rows:
        for top in range(region.top, region.bottom, 256):
            bottom = min(top + 256, region.bottom)
            pixels, _ = rows.read_rows(top, bottom)
            first = -(top - region.top) % step
            thinned.append(pixels[first::step, ::step])
    pixels = np.concatenate(thinned)
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    resized: NDArray[Any] = cv2.resize(shown.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return stretched(resized.reshape(*shape, -1), valid)


def _tinted(ground: NDArray[np.uint8], amount: NDArray[np.float32]) -> NDArray[np.uint8]:
    cover = (_OPACITY * np.clip(amount, 0, 1))[..., None]
    tinted: NDArray[np.uint8] = ((1 - cover) * ground + cover * np.array(PREDICTION)).astype(np.uint8)
    return tinted


def _heated(ground: NDArray[np.uint8], amount: NDArray[np.float32], colours: int) -> NDArray[np.uint8]:
    heat = cv2.applyColorMap((np.clip(amount, 0, 1) * 255).astype(np.uint8), colours)[..., ::-1]
    heated: NDArray[np.uint8] = ((1 - _OPACITY) * ground + _OPACITY * heat).astype(np.uint8)
    return heated


def _side_by_side(panels: dict[str, NDArray[np.uint8]]) -> Image.Image:
    height, width = next(iter(panels.values())).shape[:2]
    sheet = Image.new("RGB", (len(panels) * (width + _GAP_PX) + _GAP_PX, height + _TITLE_PX + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (title, panel) in enumerate(panels.items()):
        left = _GAP_PX + number * (width + _GAP_PX)
        pen.text((left, 5), title, fill=_INK)
        sheet.paste(Image.fromarray(panel), (left, _TITLE_PX))
    return sheet
