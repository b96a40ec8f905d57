"""Town plans for demo scenes: streets on a gently bent grid, blocks between them, and what stands in each block."""

import math
from dataclasses import dataclass

import numpy as np

from satseg.datasets.demo_blocks import Builder
from satseg.datasets.demo_plan import Points, Street, Town
from satseg.datasets.demo_plants import plant

MARGIN_M = 14.0  # what stands outside still throws shadows into the scene

# a deck instead of dice: every town has much the same mixture, so that seeds give towns of one kind
_BLOCKS = (
    "houses",
    "shacks",
    "rows",
    "halls",
    "houses",
    "green",
    "houses",
    "shacks",
    "field",
    "houses",
    "rows",
    "vacant",
)


@dataclass(frozen=True)
class Frame:
    """Maps street coordinates (u along, v across, metres) to the scene: turned, and bent by two long waves."""

    x: float
    y: float
    angle: float
    bend_m: tuple[float, float]
    wave_m: tuple[float, float]
    phase: tuple[float, float]

    def to_scene(self, uv: Points) -> Points:
        """Return scene coordinates (N, 2) of street coordinates (N, 2)."""
        u, v = uv[:, 0], uv[:, 1]
        bent_u = u + self.bend_m[0] * np.sin(2 * np.pi * v / self.wave_m[0] + self.phase[0])
        bent_v = v + self.bend_m[1] * np.sin(2 * np.pi * u / self.wave_m[1] + self.phase[1])
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.stack([self.x + cosine * bent_u - sine * bent_v, self.y + sine * bent_u + cosine * bent_v], axis=1)

    def direction(self, u: float, v: float) -> float:
        """Return the scene angle (radians) of the u axis at a point."""
        start, end = self.to_scene(np.array([[u - 1, v], [u + 1, v]]))
        return math.atan2(end[1] - start[1], end[0] - start[0])


def plan_town(seed: int, scene: int, side_m: float) -> Town:
    """Lay out the town of one scene; it depends on the arguments only.

    Args:
        seed: seed of the set of scenes.
        scene: number of the scene in the set.
        side_m: width and height of the scene in metres.
    """
    random = np.random.default_rng([seed, scene, 1])
    town = Town(side_m, sun_azimuth=math.radians(random.uniform(135, 165)))
    curved = random.random() < 0.6
    bend = random.uniform(5, 9) if curved else random.uniform(0, 2)
    frame = Frame(
        side_m / 2,
        side_m / 2,
        random.uniform(-math.pi, math.pi),
        (bend, bend * random.uniform(0.5, 1)),
        (random.uniform(170, 260), random.uniform(170, 260)),
        (random.uniform(0, 6.28), random.uniform(0, 6.28)),
    )
    builder = Builder(town, frame.to_scene, frame.direction, random)
    for kind, edges in _streets_and_blocks(town, frame, random):
        builder.furnish(kind, edges)
    town.buildings = builder.houses.all
    plant(town, builder.groves, np.random.default_rng([seed, scene, 2]))
    return town


def _streets_and_blocks(
    town: Town, frame: Frame, random: np.random.Generator
) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Add the streets to the town; return kinds and street coordinates (u0, u1, v0, v1) of the blocks in view."""
    reach = town.side_m * 0.72 + MARGIN_M
    blocks: list[tuple[float, float, float, float]] = []
    avenues = _steps(random, reach, 72, 112)
    widths = [_avenue(town, frame, random, u, reach) for u in avenues]
    for (u0, half0), (u1, half1) in zip(
        list(zip(avenues, widths, strict=True)), list(zip(avenues, widths, strict=True))[1:], strict=False
    ):
        rows = _steps(random, reach, 44, 62)
        halves = [_side_street(town, frame, random, (u0, u1), v) for v in rows]
        for (v0, low), (v1, high) in zip(
            zip(rows, halves, strict=True), list(zip(rows, halves, strict=True))[1:], strict=False
        ):
            blocks.append((u0 + half0, u1 - half1, v0 + low, v1 - high))
    seen = [block for block in blocks if _in_view(frame, block, town.side_m)]
    # from the middle outwards, so that the deck's beginning lands where the scene is
    seen.sort(key=lambda block: math.hypot(block[0] + block[1], block[2] + block[3]))
    shift = int(random.integers(3))
    return [(_BLOCKS[(i + shift) % len(_BLOCKS)], block) for i, block in enumerate(seen)]


def _steps(random: np.random.Generator, reach: float, least: float, most: float) -> list[float]:
    positions = [-reach - random.uniform(0, least)]
    while positions[-1] < reach:
        positions.append(positions[-1] + random.uniform(least, most))
    return positions


def _line(frame: Frame, start: tuple[float, float], end: tuple[float, float]) -> Points:
    steps = max(2, int(math.dist(start, end) / 3))
    return frame.to_scene(np.linspace(start, end, steps))


def _avenue(town: Town, frame: Frame, random: np.random.Generator, u: float, reach: float) -> float:
    width = random.uniform(6.4, 7.4)
    town.streets.append(Street(_line(frame, (u, -reach), (u, reach)), width, True, 1.6, True))
    return width / 2 + 1.6


def _side_street(
    town: Town, frame: Frame, random: np.random.Generator, between: tuple[float, float], v: float
) -> float:
    paved = random.random() < 0.55
    width, sidewalk = (random.uniform(4.6, 5.6), 1.2) if paved else (random.uniform(3.8, 5.0), 0.0)
    town.streets.append(Street(_line(frame, (between[0], v), (between[1], v)), width, paved, sidewalk, False))
    return width / 2 + sidewalk


def _in_view(frame: Frame, block: tuple[float, float, float, float], side_m: float) -> bool:
    u0, u1, v0, v1 = block
    grid = np.array([(u, v) for u in np.linspace(u0, u1, 6) for v in np.linspace(v0, v1, 6)])
    xy = frame.to_scene(grid)
    return bool(((xy > -MARGIN_M) & (xy < side_m + MARGIN_M)).all(axis=1).any())
