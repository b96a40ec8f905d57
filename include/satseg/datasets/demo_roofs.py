"""Roofs of demo towns: planes, materials, weathering, and what stands on them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_canvas import Canvas, Cutout, Plane
from satseg.datasets.demo_changes import Season
from satseg.datasets.demo_plan import Building, Wing
from satseg.datasets.demo_sheet import Rgb
from satseg.datasets.demo_textures import cell_noise, smooth_noise, smooth_step

_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "tile": ((192, 106, 70), (206, 122, 84), (170, 90, 64), (188, 128, 98)),
    "brown tile": ((124, 90, 74), (106, 84, 74), (138, 104, 88)),
    "slate": ((98, 102, 110), (112, 113, 116), (84, 90, 100)),
    "red metal": ((160, 62, 66), (148, 54, 50), (178, 88, 84)),
    "grey metal": ((176, 180, 182), (150, 156, 160), (198, 200, 198)),
    "green metal": ((112, 140, 122), (152, 172, 150)),
    "blue metal": ((84, 112, 148), (110, 134, 160)),
    "old metal": ((176, 162, 148), (158, 150, 142)),
    "rusty metal": ((162, 110, 84), (148, 104, 84), (176, 134, 108)),
    "concrete": ((184, 180, 172), (166, 160, 152), (198, 190, 176)),
    "bitumen": ((100, 98, 97), (122, 120, 116)),
    "gravel": ((168, 160, 148), (150, 144, 134)),
    "membrane": ((222, 222, 218), (206, 208, 208)),
}
_PARAPET_M = 0.3


class _Planes:
    """Height, slope and material coordinates of a roof at every pixel of a cutout; all (H, W)."""

    def __init__(self, wings: tuple[Wing, ...], part: Cutout) -> None:
        shape = part.x.shape
        self.height: Plane = np.full(shape, -1, np.float32)
        self.slope_x: Plane = np.zeros(shape, np.float32)
        self.slope_y: Plane = np.zeros(shape, np.float32)
        self.along: Plane = np.zeros(shape, np.float32)  # metres along the eave
        self.down: Plane = np.zeros(shape, np.float32)  # metres from the ridge
        self.to_ridge: Plane = np.full(shape, 99, np.float32)
        for wing in wings:
            self._add(wing, part)

    def _add(self, wing: Wing, part: Cutout) -> None:
        a, b = local(wing, part)
        end, side = wing.half_a - np.abs(a), wing.half_b - np.abs(b)
        pitch = np.float32(wing.pitch)
        hip_end = np.zeros(a.shape, bool)
        to_ridge = np.abs(b)
        sign_b = np.sign(b)
        if wing.roof == "hip":
            hip_end = end < side
            height = wing.eave_m + pitch * np.minimum(end, side)
            to_ridge = np.minimum(np.where(hip_end, 99, np.abs(b)), np.abs(end - side) * np.float32(0.71))
        elif wing.roof == "gable":
            height = wing.eave_m + pitch * side
        elif wing.roof == "shed":
            height = wing.eave_m + pitch * (b + np.float32(wing.half_b))
            sign_b, to_ridge = -np.ones_like(b), np.full_like(b, 99)
        else:
            height, to_ridge = np.full_like(a, wing.eave_m), np.full_like(b, 99)
        better = (end >= 0) & (side >= 0) & (height > self.height)
        slope_a = np.where(hip_end, -np.sign(a) * pitch, 0)
        slope_b = np.where(hip_end, 0, -sign_b * pitch)
        cosine, sine = np.float32(np.cos(wing.angle)), np.float32(np.sin(wing.angle))
        for field, value in (
            (self.height, height),
            (self.slope_x, slope_a * cosine - slope_b * sine),
            (self.slope_y, slope_a * sine + slope_b * cosine),
            (self.along, np.where(hip_end, b, a)),
            (self.down, np.where(hip_end, np.abs(a), wing.half_b - b if wing.roof == "shed" else np.abs(b))),
            (self.to_ridge, to_ridge),
        ):
            np.copyto(field, value, where=better, casting="same_kind")

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where there is roof."""
        return self.height > 0


def local(wing: Wing, part: Cutout) -> tuple[Plane, Plane]:
    """Return coordinates along and across a wing, metres from its centre."""
    cosine, sine = np.float32(np.cos(wing.angle)), np.float32(np.sin(wing.angle))
    x, y = part.x - np.float32(wing.x), part.y - np.float32(wing.y)
    return x * cosine + y * sine, y * cosine - x * sine


def paint_roof(canvas: Canvas, building: Building, season: Season) -> None:
    """Paint one building into the canvas: colour, height, slope and roof mask."""
    part = canvas.cutout(np.vstack([wing.corners() for wing in building.wings]))
    if part is None:
        return
    random = np.random.default_rng(building.seed)
    planes = _Planes(building.wings, part)
    inside = planes.inside
    edge_m = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1] / canvas.px_per_m
    colour = _material(building.material, planes, part, random)
    flat = building.wings[0].roof == "flat"
    if flat:
        rim = edge_m < _PARAPET_M
        colour[rim] = colour[rim] * np.float32(0.4) + np.float32(0.6 * 188)
        planes.height[rim] += np.float32(0.45)
    else:
        colour[planes.to_ridge < 0.14] *= np.float32(random.choice([0.78, 1.14]))
        colour[edge_m < 0.11] *= np.float32(random.choice([0.72, 1.2]))
    if season.snow > 0:
        _snow(colour, planes, part, season.snow)
    _furnish(building, planes, part, colour, random)
    np.copyto(canvas.colour[part.rows, part.cols], np.clip(colour, 0, 255).astype(np.uint8), where=inside[..., None])
    for target, source in (
        (canvas.height, planes.height),
        (canvas.slope_x, planes.slope_x),
        (canvas.slope_y, planes.slope_y),
    ):
        np.copyto(target[part.rows, part.cols], source, where=inside)
    canvas.roofs[part.rows, part.cols] |= inside.astype(np.uint8)


def _material(material: str, planes: _Planes, part: Cutout, random: np.random.Generator) -> Rgb:
    """Return colours (H, W, 3) of a roof material: courses, sheets, seams, stains and streaks."""
    choices = _COLOURS[material]
    base = np.array(choices[random.integers(len(choices))], np.float32) * np.float32(random.normal(1, 0.06))
    start = int(random.integers(200))
    along, down = planes.along + np.float32(start), planes.down
    blotch = smooth_noise(part.x * 3 + 400, part.y * 3 + 400, start)
    streak = smooth_noise(along * 9, down * 1.4 + 300, start)
    tone = np.float32(1) + np.float32(0.035) * blotch + np.float32(0.03) * streak
    colour = np.broadcast_to(base, (*along.shape, 3)).astype(np.float32)
    if material in {"tile", "brown tile", "slate"}:
        size = 0.42 if "tile" in material else 0.3
        tone += np.float32(0.05) * cell_noise(along / np.float32(size * 0.9), down / np.float32(size), start)
        tone += np.float32(0.11) * (np.mod(down, np.float32(size)) / np.float32(size) - np.float32(0.5))
        lichen = smooth_step(blotch + streak * np.float32(0.4), 0.9, 2.0) * np.float32(random.uniform(0, 0.5))
        colour += lichen[..., None] * (np.array([96, 92, 80], np.float32) - colour)
    elif "metal" in material:
        colour, tone = _sheets(material, colour, tone, (along, down), streak=streak, random=random)
    else:
        seam = np.mod(along, np.float32(random.choice([1.0, 4.0]))) < 0.09
        tone -= np.float32(0.07) * seam
        tone += np.float32(0.06) * smooth_noise(part.x * 1.2 + 300, part.y * 1.2 + 300, start + 3)
        tone += np.float32(0.03) * cell_noise(part.x * 5, part.y * 5, start)
        stain = smooth_step(blotch, 0.8, 2.2) * np.float32(random.uniform(0.05, 0.4))
        colour += stain[..., None] * (np.array([110, 104, 96], np.float32) - colour)
    painted: Rgb = colour * np.clip(tone, 0.6, 1.4)[..., None]
    return painted


def _sheets(
    material: str,
    colour: Rgb,
    tone: Plane,
    place: tuple[Plane, Plane],
    *,
    streak: Plane,
    random: np.random.Generator,
) -> tuple[Rgb, Plane]:
    """Return colour and tone of corrugated sheets of 0.85 m, each of its own age."""
    along, down = place
    start = int(random.integers(200))
    aged = {"rusty metal": 1.0, "old metal": 0.55}.get(material, 0.08)
    sheet = cell_noise(along / np.float32(0.85), down / np.float32(random.uniform(2.2, 3.2)), start)
    tone = tone + np.float32(0.03 + 0.07 * aged) * sheet
    tone += np.float32(0.035) * np.sin(along * np.float32(2 * np.pi / random.choice([0.35, 0.5])))
    tone -= np.float32(0.1) * (np.mod(along, np.float32(0.85)) < 0.08)
    rust = smooth_step(sheet + streak * np.float32(0.6), 1.2 - 1.6 * aged, 2.2 - 1.0 * aged)
    rust *= np.float32(0.25 + 0.6 * aged)
    colour += rust[..., None] * (np.array([142, 92, 68], np.float32) - colour)
    return colour, tone


def _snow(colour: Rgb, planes: _Planes, part: Cutout, amount: float) -> None:
    """Lay snow on a roof: more where it is flat or faces north (up), none on single warm patches."""
    cold = smooth_noise(part.x * 2 + 500, part.y * 2 + 500, 9) * np.float32(0.6) + planes.slope_y * np.float32(1.6)
    share = smooth_step(cold, 0.55 - amount, 1.35 - amount)
    colour += share[..., None] * (np.array([226, 230, 238], np.float32) - colour)


def _furnish(building: Building, planes: _Planes, part: Cutout, colour: Rgb, random: np.random.Generator) -> None:
    """Put chimneys, roof windows, solar panels and machines on a roof."""
    wing = building.wings[0]
    a, b = local(wing, part)
    inside = planes.inside

    def spot(half_a: float, half_b: float, low: float, high: float) -> NDArray[np.bool_]:
        at = random.uniform(-0.75, 0.75) * (wing.half_a - half_a)
        side = random.choice([-1, 1]) * random.uniform(low, high) * (wing.half_b - half_b)
        return np.asarray((np.abs(a - at) < half_a) & (np.abs(b - side) < half_b) & inside)

    if building.solar:
        panels = spot(min(3.3, wing.half_a * 0.6), min(1.7, wing.half_b * 0.4), 0.45, 0.6)
        frame = (np.mod(a, 1.0) < 0.09) | (np.mod(b, 1.65) < 0.09)
        colour[panels] = (38, 48, 72)
        colour[panels & frame] = (120, 126, 136)
    for _ in range(building.skylights):
        colour[spot(0.4, 0.6, 0.3, 0.7)] = (70, 84, 100) if random.random() < 0.7 else (214, 222, 228)
    for _ in range(building.chimneys):
        _stand(planes, colour, spot(0.35, 0.45, 0.0, 0.4), 0.9, (150, 108, 92))
    for _ in range(building.machines):
        size = random.uniform(0.5, 1.2)
        _stand(planes, colour, spot(size, size * 0.7, 0.0, 0.85), random.uniform(0.6, 1.4), (198, 200, 200))


def _stand(planes: _Planes, colour: Rgb, where: NDArray[np.bool_], high: float, paint: tuple[int, int, int]) -> None:
    colour[where] = paint
    planes.height[where] += np.float32(high)
    planes.slope_x[where] = 0
    planes.slope_y[where] = 0
