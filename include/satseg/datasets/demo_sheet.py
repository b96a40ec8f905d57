"""A sheet to draw on in metres: the geometry of a demo picture at one resolution, and masks laid over it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_plan import Points

SHIFT = 4  # fractional bits of OpenCV's drawing coordinates

Mask = NDArray[np.uint8]
Rgb = NDArray[np.float32]


@dataclass(frozen=True)
class Sheet:
    """A square of `side` pixels whose pixel (margin_px, margin_px) starts at the scene's corner (0 m, 0 m)."""

    side: int
    px_per_m: float
    margin_px: int

    def mask(self) -> Mask:
        """Return an empty mask."""
        return np.zeros((self.side, self.side), np.uint8)

    def pixels(self, points: Points) -> NDArray[np.int32]:
        """Return drawing coordinates of points in metres, with `SHIFT` fractional bits."""
        exact = points * self.px_per_m + self.margin_px - 0.5  # OpenCV counts from the centre of the first pixel
        drawn: NDArray[np.int32] = np.round(exact * 2**SHIFT).astype(np.int32)
        return drawn

    def line(self, mask: Mask, points: Points, width_m: float, value: int = 255) -> None:
        """Draw a line into a mask, antialiased."""
        width = max(1, round(width_m * self.px_per_m))
        cv2.polylines(mask, [self.pixels(points)], False, value, width, cv2.LINE_AA, SHIFT)

    def polygon(self, mask: Mask, points: Points, value: int = 255, smooth: bool = True) -> None:
        """Fill a polygon in a mask."""
        cv2.fillPoly(mask, [self.pixels(points)], value, cv2.LINE_AA if smooth else cv2.LINE_8, SHIFT)


def blend(picture: Rgb, mask: Mask, colour: tuple[float, ...], strength: float = 1.0, shade: Rgb | None = None) -> None:
    """Lay a colour over a picture (H, W, 3) float32 where the mask is set, in proportion to it.

    Args:
        picture: changed in place.
        mask: (H, W), 255 = full.
        colour: red, green, blue.
        strength: opacity of the full mask.
        shade: (H, W) added to the colour.
    """
    pixels = np.flatnonzero(mask)  # most masks are thin: touch only what they cover
    flat = picture.reshape(-1, 3)
    under = flat[pixels]
    over = np.array(colour, np.float32)
    if shade is not None:
        over = over + shade.reshape(-1)[pixels, None]
    share = mask.reshape(-1)[pixels, None].astype(np.float32) * np.float32(strength / 255)
    flat[pixels] = under + (over - under) * share
