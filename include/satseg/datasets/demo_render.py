"""From the plan of a town to the picture a sensor takes of it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_canvas import Canvas, Sun
from satseg.datasets.demo_changes import SEASONS, SENSORS, Look, expose, to_dtype
from satseg.datasets.demo_ground import paint_ground
from satseg.datasets.demo_objects import paint_barrier, paint_box, paint_tree
from satseg.datasets.demo_plan import Town
from satseg.datasets.demo_roofs import paint_roof


@dataclass(frozen=True)
class Picture:
    """A rendered scene: `pixels` (H, W, 3) uint8 red, green, blue; `roofs` (H, W) uint8, 1 where there is roof."""

    pixels: NDArray[np.uint8]
    roofs: NDArray[np.uint8]


def render(
    town: Town,
    size_px: int,
    gsd_m: float,
    seed: tuple[int, int],
    look: Look,
) -> Picture:
    """Draw a town as seen from straight above.

    Args:
        town: the plan; its side must be size_px · gsd_m.
        size_px: width and height of the picture.
        gsd_m: metres per pixel.
        seed: seed of the set and number of the scene; ground texture and noise depend on nothing else.
        look: season, sensor, and changes on top.
    """
    canvas = Canvas(size_px, gsd_m)
    season = SEASONS[look.season]
    paint_ground(canvas, town, season, np.random.default_rng([*seed, 3]))
    for barrier in town.barriers:
        paint_barrier(canvas, barrier, season)
    for building in town.buildings:
        paint_roof(canvas, building, season)
    for box in town.boxes:
        paint_box(canvas, box)
    for tree in town.trees:
        paint_tree(canvas, tree, season)
    light = canvas.lit(Sun(town.sun_azimuth, math.radians(season.sun_elevation)))
    numbers = expose(light, SENSORS[look.sensor], np.random.default_rng([*seed, 4]))
    numbers = look.change.apply(numbers, 255.0, np.random.default_rng([*seed, 5]))
    return Picture(to_dtype(numbers, "uint8"), canvas.roof_mask())
