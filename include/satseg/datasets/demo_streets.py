"""Paved streets of demo towns: sidewalks, kerbs, worn asphalt, repairs and markings."""

import cv2
import numpy as np

from satseg.datasets.demo_plan import Points, Street
from satseg.datasets.demo_sheet import Mask, Rgb, Sheet, blend
from satseg.datasets.demo_textures import Image, fractal_noise


def pave(
    picture: Rgb,
    sheet: Sheet,
    streets: list[Street],
    bays: list[Points],
    *,
    grain: Image,
    random: np.random.Generator,
) -> Mask:
    """Draw sidewalks, kerbs, carriageways with wear and repairs, and markings, in this order for all streets.

    Args:
        picture: (H, W, 3) float32, changed in place.
        sheet: its geometry.
        streets: unpaved ones are left out.
        bays: lines of car parks and courts, in metres.
        grain: fine noise (H, W) of deviation 1.
        random: source of wear.

    Returns:
        The carriageways as a mask.
    """
    paved = [street for street in streets if street.paved]
    stains = fractal_noise(random, grain.shape, 3 * sheet.px_per_m, 4)
    mask = sheet.mask()
    for street in paved:
        sheet.line(mask, street.line, street.width_m + 2 * street.sidewalk_m)
    blend(picture, mask, (172, 164, 153), 0.94, 9 * stains + 6 * grain)
    mask[:] = 0
    for street in paved:
        sheet.line(mask, street.line, street.width_m + 0.36)
    blend(picture, mask, (198, 193, 184), 0.75)
    carriageway = sheet.mask()
    for street in paved:
        sheet.line(carriageway, street.line, street.width_m)
    blend(picture, carriageway, (127, 124, 121), 1.0, 7 * stains + 6 * grain)
    _wear(picture, sheet, paved, carriageway, random)
    _mark(picture, sheet, paved, bays, random)
    return carriageway


def _wear(picture: Rgb, sheet: Sheet, streets: list[Street], carriageway: Mask, random: np.random.Generator) -> None:
    """Brighten wheel tracks, lay dust along the kerbs, darken repairs, cracks and manholes."""
    mask = sheet.mask()
    for street in streets:
        for side in (-0.31, -0.12, 0.12, 0.31):
            sheet.line(mask, shifted(street.line, side * street.width_m), 0.55)
    soft = cv2.blur(mask, (5, 5))
    blend(picture, cv2.min(soft, carriageway), (158, 154, 148), 0.3)
    inner = cv2.erode(carriageway, np.ones((3, 3), np.uint8), iterations=max(1, round(0.5 * sheet.px_per_m)))
    blend(picture, cv2.blur(cv2.subtract(carriageway, inner), (5, 5)), (168, 146, 120), 0.4)
    for colour, strength, widths, every in (
        ((97, 96, 96), 0.5, (0.6, 2.2), 9),
        ((148, 144, 140), 0.5, (0.8, 2.8), 16),
    ):
        mask[:] = 0
        for street in streets:
            for _ in range(random.poisson(len(street.line) / every)):
                start = int(random.integers(0, len(street.line) - 1))
                lane = shifted(street.line, random.uniform(-0.3, 0.3) * street.width_m)
                sheet.line(mask, lane[start : start + 1 + random.integers(1, 4)], random.uniform(*widths))
        blend(picture, cv2.min(mask, carriageway), colour, strength)
    mask[:] = 0
    for street in streets:
        for _ in range(random.poisson(len(street.line) / 5)):
            start_at = street.line[random.integers(len(street.line))] + random.uniform(-3, 3, 2)
            steps = random.normal(0, 0.35, (9, 2)) + random.normal(0, 0.7, 2)
            sheet.line(mask, start_at + np.cumsum(steps, axis=0), 0.07)
        for _ in range(random.poisson(len(street.line) / 14)):
            spot = street.line[random.integers(len(street.line))] + random.uniform(-1.5, 1.5, 2)
            sheet.line(mask, spot + np.array([[0, 0], [0.02, 0]]), 0.6)
    blend(picture, cv2.min(mask, carriageway), (84, 83, 82), 0.5)


def _mark(picture: Rgb, sheet: Sheet, streets: list[Street], bays: list[Points], random: np.random.Generator) -> None:
    """Paint centre dashes, zebra crossings and the lines of car parks and courts."""
    mask = sheet.mask()
    for line in bays:
        sheet.line(mask, line, 0.13)
    for street in streets:
        if not street.marked:
            continue
        others = [other for other in streets if other is not street]
        for i in range(0, len(street.line) - 1, 2):
            near = min((_nearest(street.line[i], other) for other in others), default=99.0)
            if near > 5.5:
                sheet.line(mask, street.line[i : i + 2], 0.14)
            elif 1.2 < near < 4 and random.random() < 0.35:
                _zebra(sheet, mask, street, i)
    blend(picture, mask, (222, 219, 210), 0.72)


def _zebra(sheet: Sheet, mask: Mask, street: Street, i: int) -> None:
    step = street.line[i + 1] - street.line[i]
    along = step / np.hypot(*step)
    across = np.array([-along[1], along[0]])
    for at in np.arange(-street.width_m / 2 + 0.5, street.width_m / 2 - 0.3, 1.0):
        middle = street.line[i] + across * at
        sheet.line(mask, np.array([middle - along * 1.4, middle + along * 1.4]), 0.5)


def _nearest(point: Points, street: Street) -> float:
    """Return the distance in metres from a point to a street's kerb."""
    return float(np.sqrt(((street.line - point) ** 2).sum(axis=1)).min()) - street.width_m / 2


def shifted(line: Points, by_m: float) -> Points:
    """Return a line moved sideways by some metres."""
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-9)[:, None]
    return line + by_m * np.stack([-direction[:, 1], direction[:, 0]], axis=1)
