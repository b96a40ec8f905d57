"""The ground of demo towns: grass and soil, yards, fields, water, snow, and the paved streets."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_canvas import Canvas
from satseg.datasets.demo_changes import Season
from satseg.datasets.demo_plan import Ground, Town
from satseg.datasets.demo_sheet import SHIFT, Rgb, Sheet, blend
from satseg.datasets.demo_streets import pave
from satseg.datasets.demo_textures import Image, fractal_noise, smooth_step, value_noise

# colour, strength of large stains, strength of grain; the soft covers are painted by formulas of their own
_HARD: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "concrete": ((180, 172, 160), 11, 6),
    "brick": ((166, 120, 98), 9, 10),
    "gravel": ((162, 149, 132), 9, 12),
    "asphalt": ((124, 121, 118), 9, 7),
    "court": ((168, 100, 74), 4, 4),
    "water": ((66, 80, 72), 4, 1.5),
}
_SOFT = ("natural", "field", "beds")
_NUMBERS = {name: number for number, name in enumerate((*_SOFT, *_HARD))}
_SNOW = (222.0, 227.0, 236.0)


def paint_ground(canvas: Canvas, town: Town, season: Season, random: np.random.Generator) -> None:
    """Fill the canvas with land cover and streets, made at scene resolution and enlarged."""
    sheet = canvas.ground
    shape = (sheet.side, sheet.side)
    stains = fractal_noise(random, shape, 7 * sheet.px_per_m, 4)
    grain, tufts = value_noise(random, shape, 1), value_noise(random, shape, 0.45 * sheet.px_per_m)
    cover, green = _maps(sheet, town)
    picture = _natural(green, season, (stains, tufts, grain), random)
    for ground in town.grounds:
        if ground.cover in {"field", "beds"}:
            _rows(picture, sheet, ground, season, (tufts, grain))
    _harden(picture, cover, (stains, tufts, grain))
    if season.snow > 0:
        _lay_snow(picture, cover, stains + 0.35 * tufts, season.snow)
    carriageway = pave(picture, sheet, town.streets, town.bays, grain=grain, random=random)
    if season.snow > 0:  # ploughed aside
        blend(picture, cv2.subtract(carriageway, cv2.erode(carriageway, np.ones((7, 7), np.uint8))), _SNOW, 0.5)
    fine = np.clip(picture, 0, 255).astype(np.uint8)
    canvas.colour[:] = cv2.resize(fine, (canvas.side, canvas.side), interpolation=cv2.INTER_LINEAR)


def _maps(sheet: Sheet, town: Town) -> tuple[NDArray[np.uint8], Image]:
    """Return the cover's number (H, W) uint8 and the greenness 0..1 (H, W) float32."""
    cover, green = sheet.mask(), sheet.mask()
    green[:] = 128
    for ground in town.grounds:
        sheet.polygon(cover, ground.outline, _NUMBERS[ground.cover], smooth=False)
        sheet.polygon(green, ground.outline, round(255 * ground.grass), smooth=False)
    for path in town.paths:
        sheet.line(green, path, 1.1, 25)
    for street in town.streets:
        if not street.paved:  # a dirt road, less worn between the wheels
            points = [sheet.pixels(street.line)]
            width = max(1, round(street.width_m * sheet.px_per_m))
            cv2.polylines(cover, points, False, 0, width, cv2.LINE_8, SHIFT)
            sheet.line(green, street.line, street.width_m, 18)
            sheet.line(green, street.line, 0.6, 72)
    return cover, cv2.GaussianBlur(green, (0, 0), 0.45 * sheet.px_per_m).astype(np.float32) / np.float32(255)


def _natural(green: Image, season: Season, noise: tuple[Image, Image, Image], random: np.random.Generator) -> Rgb:
    """Return grass on soil, (H, W, 3): where greenness and noise together are high enough, grass grows."""
    stains, tufts, grain = noise
    growing = smooth_step(green + 0.12 * stains + 0.05 * tufts + np.float32(season.grass_shift), 0.32, 0.64)
    hue = np.clip(0.5 + 0.3 * fractal_noise(random, green.shape, 60, 2) + 0.1 * tufts, 0, 1)
    bare = np.clip(0.5 + 0.3 * stains, 0, 1)
    light = 3.5 * stains + 3 * tufts + 7 * grain
    picture = np.empty((*green.shape, 3), np.float32)
    for band in range(3):
        soil = season.soil[0][band] + (season.soil[1][band] - season.soil[0][band]) * bare
        grass = season.grass[0][band] + (season.grass[1][band] - season.grass[0][band]) * hue
        picture[..., band] = soil + (grass - soil) * growing + light
    return picture


def _harden(picture: Rgb, cover: NDArray[np.uint8], noise: tuple[Image, Image, Image]) -> None:
    """Paint concrete, brick, gravel and so on where the cover says so."""
    stains, tufts, grain = noise
    pixels = np.flatnonzero(cover >= len(_SOFT))
    kind = cover.reshape(-1)[pixels] - len(_SOFT)
    table = np.array([colour for colour, _, _ in _HARD.values()], np.float32)
    large, small = (np.array([row[i] for row in _HARD.values()], np.float32)[kind] for i in (1, 2))
    shade = (stains + 0.25 * tufts).reshape(-1)[pixels] * large + grain.reshape(-1)[pixels] * small
    picture.reshape(-1, 3)[pixels] = table[kind] + shade[:, None]


def _rows(picture: Rgb, sheet: Sheet, ground: Ground, season: Season, noise: tuple[Image, Image]) -> None:
    """Paint a field or vegetable beds: rows of crop on soil along the ground's angle."""
    corners = np.round(sheet.pixels(ground.outline) / 2**SHIFT).astype(np.int32)
    low, high = np.clip(corners.min(axis=0), 0, None), np.clip(corners.max(axis=0) + 1, 0, None)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    target = picture[part]
    if target.size == 0:
        return
    mask = np.zeros(target.shape[:2], np.uint8)
    cv2.fillPoly(mask, [corners - low], 1)
    y, x = np.mgrid[0 : target.shape[0], 0 : target.shape[1]].astype(np.float32) / np.float32(sheet.px_per_m)
    across = y * np.float32(math.cos(ground.angle)) - x * np.float32(math.sin(ground.angle))
    tufts, grain = noise[0][part], noise[1][part]
    spacing = 0.9 if ground.cover == "beds" else 1.3
    wave = np.sin(across * np.float32(2 * np.pi / spacing) + np.float32(0.5) * tufts)
    crop = smooth_step(wave + 0.45 * tufts + np.float32(2.6 * (ground.grass - 0.5)), -0.6, 0.9)[..., None]
    soil = np.array(season.soil[0], np.float32) * np.float32(0.86) + (wave * 6)[..., None]
    colours = season.crops[1] if ground.grass > 0.7 else season.crops[0]
    plants = np.array(colours, np.float32) + (7 * tufts)[..., None]
    np.copyto(target, soil + (plants - soil) * crop + (6 * grain)[..., None], where=mask[..., None].astype(bool))


def _lay_snow(picture: Rgb, cover: NDArray[np.uint8], noise: Image, amount: float) -> None:
    """Lay patches of snow on everything but water; less on swept yards."""
    swept = np.isin(cover, [_NUMBERS[name] for name in ("concrete", "asphalt", "brick")])
    lying = smooth_step(noise - np.float32(0.9) * swept, 0.6 - 1.6 * amount, 1.5 - 1.6 * amount)
    lying[cover == _NUMBERS["water"]] = 0
    blend(picture, (lying * 235).astype(np.uint8), _SNOW)
