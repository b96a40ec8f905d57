"""Trees, walls, hedges, cars and other small things of demo towns."""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_canvas import Canvas, Plane
from satseg.datasets.demo_changes import Season
from satseg.datasets.demo_plan import Barrier, Box, Tree
from satseg.datasets.demo_sheet import SHIFT
from satseg.datasets.demo_textures import smooth_noise

_CROWN_PX = 96
_CROWNS = 10
_PAINT: tuple[tuple[int, int, int], ...] = (
    (232, 232, 230),
    (214, 216, 218),
    (176, 178, 180),
    (120, 124, 128),
    (44, 46, 50),
    (140, 36, 38),
    (52, 76, 120),
    (190, 176, 148),
    (196, 108, 70),
    (36, 58, 52),
)
_TARPAULINS = ((58, 96, 152), (200, 206, 208), (170, 104, 74), (86, 120, 92))


def paint_barrier(canvas: Canvas, barrier: Barrier, season: Season) -> None:
    """Paint a wall (0.25 m thick, 1.8 m high) or a hedge (0.8 m thick, 1.5 m high)."""
    wall = barrier.kind == "wall"
    part = canvas.cutout(barrier.line, 1.0)
    if part is None:
        return
    mask = np.zeros(part.x.shape, np.uint8)
    points = canvas.sheet.pixels(barrier.line) - np.array([part.cols.start, part.rows.start], np.int32) * 2**SHIFT
    width = max(1, round((0.27 if wall else 0.85) * canvas.px_per_m))
    cv2.polylines(mask, [points], False, 255, width, cv2.LINE_AA, SHIFT)
    leaves = smooth_noise(part.x * 14 + 900, part.y * 14 + 900)
    inside = (mask > 110) & (wall | (leaves > -1.3))
    if wall:
        colour = np.array([192, 182, 166], np.float32) + 6 * leaves[..., None]
    else:
        colour = np.array([84, 84, 58] if season.leafless else [70, 90, 46], np.float32) + 11 * leaves[..., None]
    top = np.full(mask.shape, 1.8, np.float32) if wall else (1.4 + 0.15 * leaves).astype(np.float32)
    inside &= top > canvas.height[part.rows, part.cols]
    np.copyto(canvas.colour[part.rows, part.cols], np.clip(colour, 0, 255).astype(np.uint8), where=inside[..., None])
    np.copyto(canvas.height[part.rows, part.cols], top, where=inside)


def paint_box(canvas: Canvas, box: Box) -> None:
    """Paint a car, lorry, tank, pool, crate or tarpaulin; it never covers a roof."""
    reach = math.hypot(box.length_m, box.width_m) / 2
    part = canvas.cutout(np.array([[box.x, box.y]]), reach)
    if part is None:
        return
    x, y = part.x - np.float32(box.x), part.y - np.float32(box.y)
    cosine, sine = np.float32(math.cos(box.angle)), np.float32(math.sin(box.angle))
    a = np.asarray((x * cosine + y * sine) / np.float32(box.length_m / 2), np.float32)  # -1..1 along the thing
    b = np.asarray((y * cosine - x * sine) / np.float32(box.width_m / 2), np.float32)
    power = {"car": 6, "tank": 2}.get(box.kind, 24)
    inside = (np.abs(a) ** power + np.abs(b) ** power < 1) & (canvas.roofs[part.rows, part.cols] == 0)
    paint = {"car": _car, "lorry": _lorry}.get(box.kind, _plain)
    colour, height = paint(box, a, b)
    np.copyto(canvas.colour[part.rows, part.cols], colour.astype(np.uint8), where=inside[..., None])
    np.copyto(canvas.height[part.rows, part.cols], height, where=inside)


def _car(box: Box, a: Plane, b: Plane) -> tuple[NDArray[np.float32], Plane]:
    paint = np.array(_PAINT[box.colour % len(_PAINT)], np.float32)
    cabin = (a > -0.72) & (a < 0.34) & (np.abs(b) < 0.86)
    roof = (a > -0.45) & (a < 0.06) & (np.abs(b) < 0.74)
    colour = np.broadcast_to(paint, (*a.shape, 3)) * (1 - 0.12 * np.abs(b) ** 3)[..., None]
    colour = np.where(cabin[..., None], np.array([42, 48, 54], np.float32), colour)
    colour = np.where(roof[..., None], np.minimum(paint * np.float32(1.06), 250), colour)
    height = np.where(cabin, 1.45, np.where(a > 0, 0.95, 1.05)).astype(np.float32)
    return colour.astype(np.float32), height


def _lorry(box: Box, a: Plane, b: Plane) -> tuple[NDArray[np.float32], Plane]:
    load = np.array(_PAINT[box.colour % 4], np.float32) + 5 * np.sin(a * 30)[..., None]
    cab = (a > 0.66)[..., None]
    colour = np.where(cab, np.array(_PAINT[(box.colour // 4) % len(_PAINT)], np.float32), load)
    colour = np.where(((a > 0.6) & (a < 0.68))[..., None], np.array([60, 60, 60], np.float32), colour)
    height = np.where(a > 0.66, 2.3, box.height_m).astype(np.float32)
    return np.clip(colour, 0, 255).astype(np.float32), height


def _plain(box: Box, a: Plane, b: Plane) -> tuple[NDArray[np.float32], Plane]:
    shades = {
        "tank": ((52, 52, 54), (38, 66, 96), (190, 190, 186)),
        "pool": ((84, 166, 184),),
        "crate": ((150, 120, 88), (166, 160, 150), (110, 92, 78), (128, 130, 130)),
        "tarpaulin": _TARPAULINS,
    }[box.kind]
    colour = np.broadcast_to(np.array(shades[box.colour % len(shades)], np.float32), (*a.shape, 3)).copy()
    if box.kind == "pool":  # a light rim
        colour[(np.abs(a) > 0.9) | (np.abs(b) > 0.82)] = (208, 202, 190)
    else:
        colour *= (1 - 0.12 * smooth_noise(a * 9 + 50, b * 9 + 50))[..., None]
    return np.clip(colour, 0, 255), np.full(a.shape, box.height_m, np.float32)


def paint_tree(canvas: Canvas, tree: Tree, season: Season) -> None:
    """Stamp a crown: heights, slopes and leaf colours; broad-leaved trees stand bare in winter."""
    side = max(5, round(2 * tree.radius_m * canvas.px_per_m))
    left, top = (round(at * canvas.px_per_m + canvas.margin_px - side / 2) for at in (tree.x, tree.y))
    rows, cols = slice(max(0, top), min(canvas.side, top + side)), slice(max(0, left), min(canvas.side, left + side))
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return
    bare = season.leafless and not tree.conifer
    stamp = _crown(tree.crown % _CROWNS, tree.conifer, bare, (tree.crown >> 8) % 4)
    shape = cv2.resize(stamp, (side, side), interpolation=cv2.INTER_AREA if side < _CROWN_PX else cv2.INTER_LINEAR)
    shape = shape[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    low = tree.height_m * 0.35
    height = low + shape * np.float32(tree.height_m - low)
    inside = (shape > (0.3 if bare else 0.12)) & (height > canvas.height[rows, cols])
    if min(shape.shape) > 1:
        slope_y, slope_x = np.gradient(height * np.float32(canvas.px_per_m))
        for target, slope in ((canvas.slope_x, slope_x), (canvas.slope_y, slope_y)):
            np.copyto(target[rows, cols], np.clip(slope * np.float32(0.6), -1.6, 1.6), where=inside)
    if tree.conifer:
        colour = np.array([60, 76, 50], np.float32)
    else:
        colour = np.array(season.leaves[int(tree.hue * len(season.leaves))], np.float32)
    shade = 0.62 + 0.55 * shape  # leaves inside the crown get less light
    colour = np.clip(colour * shade[..., None], 0, 255)
    np.copyto(canvas.colour[rows, cols], colour.astype(np.uint8), where=inside[..., None])
    np.copyto(canvas.height[rows, cols], height, where=inside)


@lru_cache(maxsize=_CROWNS * 12)
def _crown(number: int, conifer: bool, bare: bool, turns: int) -> Plane:
    """Return one of a few crown shapes, (96, 96) float32, 0 outside and up to 1 at the top."""
    random = np.random.default_rng([number, conifer, bare])
    y, x = np.mgrid[0:_CROWN_PX, 0:_CROWN_PX].astype(np.float32) / np.float32(_CROWN_PX / 2) - 1
    if bare:
        return np.rot90(_branches(random), turns).copy()
    height = np.zeros_like(x)
    if conifer:
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        ragged = 0.86 + 0.1 * np.sin(angle * 9 + random.uniform(0, 6)) + 0.05 * np.sin(angle * 17)
        height = np.clip(1 - radius / ragged, 0, 1) + 0.05 * np.sin(radius * 30) * (radius < ragged)
    lobes = random.uniform(0, 6.28, 2)
    for _ in range(0 if conifer else 120):
        angle = random.uniform(0, 2 * math.pi)
        distance = math.sqrt(random.random()) * (
            0.72 + 0.1 * math.sin(2 * angle + lobes[0]) + 0.06 * math.sin(3 * angle + lobes[1])
        )
        size = random.uniform(0.08, 0.24)
        base = 0.72 * math.sqrt(1 - distance**2)
        dome = size**2 - (x - distance * math.cos(angle)) ** 2 - (y - distance * math.sin(angle)) ** 2
        height = np.maximum(height, np.where(dome > 0, base + 0.9 * np.sqrt(np.maximum(dome, 0)), 0))
    leaves = cv2.GaussianBlur(random.standard_normal(x.shape).astype(np.float32), (0, 0), 1.0)
    height = np.where(height > 0, np.clip(height + 0.3 * leaves, 0, 1), 0).astype(np.float32)
    return np.rot90(height, turns).copy()


def _branches(random: np.random.Generator) -> Plane:
    """Return the branches of a bare tree: lines that fork from the middle outwards."""
    picture = np.zeros((_CROWN_PX, _CROWN_PX), np.float32)
    ends = [(0.0, 0.0, angle, 0.0) for angle in np.linspace(0, 2 * np.pi, 7)[:-1] + random.uniform(0, 1)]
    for depth in range(5):
        grown = []
        for x, y, angle, out in ends:
            length = random.uniform(0.16, 0.24)
            x2, y2 = x + length * math.cos(angle), y + length * math.sin(angle)
            start, end = ([round((v + 1) * _CROWN_PX / 2) for v in point] for point in ((x, y), (x2, y2)))
            cv2.line(picture, start, end, 1.0 - 0.12 * depth, 3 if depth < 1 else 1, cv2.LINE_AA)
            forks = 2 if depth < 4 else 1
            grown += [(x2, y2, angle + random.uniform(-0.75, 0.75), out) for _ in range(forks)]
        ends = grown
    return picture
