"""The canvas of a demo scene: colours, heights and slopes at twice the resolution, then sunlight and shadows."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_plan import Points
from satseg.datasets.demo_sheet import Sheet

OVERSAMPLING = 2
MARGIN_M = 4.0
_SKY = (0.18, 0.22, 0.28)  # share of skylight in the light on open ground: shadows are dark and bluish
_PENUMBRA_M = 0.3
_STRIP_PX = 32

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Sun:
    """Where the sun stands: azimuth from north over east, elevation above the horizon, radians."""

    azimuth: float
    elevation: float


@dataclass(frozen=True)
class Cutout:
    """A part of the canvas with the metre coordinates (H, W) of its pixel centres."""

    rows: slice
    cols: slice
    x: Plane
    y: Plane


class Canvas:
    """Colours (H, W, 3) uint8 of flat sunlit surfaces, heights (H, W) float32 in metres, slopes dh/dx and dh/dy."""

    def __init__(self, size_px: int, gsd_m: float) -> None:
        self.size_px = size_px
        self.px_per_m = OVERSAMPLING / gsd_m
        self.margin_px = OVERSAMPLING * math.ceil(MARGIN_M / gsd_m)
        side = OVERSAMPLING * size_px + 2 * self.margin_px
        self.side = side
        self.colour = np.zeros((side, side, 3), np.uint8)
        self.height = np.zeros((side, side), np.float32)
        self.slope_x = np.zeros((side, side), np.float32)
        self.slope_y = np.zeros((side, side), np.float32)
        self.roofs = np.zeros((side, side), np.uint8)
        self.sheet = Sheet(side, self.px_per_m, self.margin_px)
        self.ground = Sheet(side // OVERSAMPLING, 1 / gsd_m, self.margin_px // OVERSAMPLING)

    def cutout(self, points: Points, grow_m: float = 0.0) -> Cutout | None:
        """Return the part of the canvas around points, or None when they lie outside."""
        low = np.floor((points.min(axis=0) - grow_m) * self.px_per_m + self.margin_px).astype(int)
        high = np.ceil((points.max(axis=0) + grow_m) * self.px_per_m + self.margin_px).astype(int) + 1
        low, high = np.clip(low, 0, self.side), np.clip(high, 0, self.side)
        if (high <= low).any():
            return None
        across, down = (
            ((np.arange(low[i], high[i], dtype=np.float32) + 0.5 - self.margin_px) / self.px_per_m) for i in (0, 1)
        )
        x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        return Cutout(slice(low[1], high[1]), slice(low[0], high[0]), x, y)

    def lit(self, sun: Sun) -> NDArray[np.float32]:
        """Return the sunlit picture at scene resolution without the margin, (size, size, 3) float32, 0..255.

        Direct light by Lambert's cosine law with cast shadows, skylight dimmed between high things; on flat open
        ground the two add up to 1. The root of the light stands for the tone curve of cameras.
        """
        inner = slice(self.margin_px, self.side - self.margin_px)
        direct = self._sunshine(sun)[inner, inner]
        direct *= self._sunlit(sun)[inner, inner]
        open_sky = self._open_sky()[inner, inner]
        picture = np.empty((self.size_px, self.size_px, 3), np.float32)
        for row in range(0, self.size_px, _STRIP_PX):  # strips stay in the processor's cache
            fine = slice(row * OVERSAMPLING, min(row + _STRIP_PX, self.size_px) * OVERSAMPLING)
            colours = self.colour[inner, inner][fine]
            for band, sky in enumerate(_SKY):
                light = np.sqrt(cv2.addWeighted(direct[fine], 1 - sky, open_sky[fine], sky, 0)) * colours[..., band]
                size = (self.size_px, light.shape[0] // OVERSAMPLING)
                picture[row : row + _STRIP_PX, :, band] = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
        return picture

    def roof_mask(self) -> NDArray[np.uint8]:
        """Return where roofs are at scene resolution, (size, size) uint8, 1 = at least half of the pixel is roof."""
        inner = slice(self.margin_px, self.side - self.margin_px)
        share = cv2.resize(self.roofs[inner, inner] * 255, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
        return np.asarray(share >= 128, dtype=np.uint8)

    def _sunshine(self, sun: Sun) -> Plane:
        east, south = math.sin(sun.azimuth), -math.cos(sun.azimuth)
        flat = 1 / math.tan(sun.elevation)
        facing = np.ones_like(self.height)
        tilted = np.flatnonzero((self.slope_x != 0) | (self.slope_y != 0))  # most of the canvas is level
        slope_x, slope_y = self.slope_x.reshape(-1)[tilted], self.slope_y.reshape(-1)[tilted]
        cosine = (1 - np.float32(flat * east) * slope_x - np.float32(flat * south) * slope_y) / np.sqrt(
            1 + slope_x * slope_x + slope_y * slope_y
        )
        facing.reshape(-1)[tilted] = np.clip(cosine, 0, 1.7)
        return facing

    def _sunlit(self, sun: Sun) -> Plane:
        """Return how much of the sun each pixel sees, 0..1.

        A point is dark when something towards the sun stands above the ray to it. The highest ray over each point is
        found in log2(length) passes: each joins the field with itself moved twice as far as the pass before.
        """
        east, south = math.sin(sun.azimuth), -math.cos(sun.azimuth)
        fall = math.tan(sun.elevation) / self.px_per_m  # metres a ray falls in a pixel
        reach = float(self.height.max()) / fall
        rays, moved, step = self.height.copy(), np.empty_like(self.height), 1.0
        while step <= max(reach, 1.0):
            move = np.array([[1, 0, step * east], [0, 1, step * south]], np.float32)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(rays, move, (self.side, self.side), moved, flags, cv2.BORDER_REPLICATE)
            cv2.subtract(moved, step * fall, moved)
            cv2.max(rays, moved, rays)
            step *= 2
        # 1 where nothing is higher, 0 where the ray passes a penumbra's height above
        seen = cv2.subtract(self.height, rays, rays)
        seen *= np.float32(1 / _PENUMBRA_M)
        seen += np.float32(1 + 0.06 / _PENUMBRA_M)
        np.clip(seen, 0, 1, out=seen)
        return np.asarray(seen, np.float32)

    def _open_sky(self) -> Plane:
        small = cv2.resize(self.height, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
        around = cv2.GaussianBlur(small, (0, 0), max(1.0, 1.6 * self.px_per_m / 8))
        seen = 1 - np.clip((around - small) * 0.13, 0, 0.5)
        return np.asarray(cv2.resize(seen, (self.side, self.side), interpolation=cv2.INTER_LINEAR), np.float32)
