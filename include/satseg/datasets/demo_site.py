"""Parts of which the blocks of a demo town are made: ground, drives, gardens, fences, car parks, lots."""

import itertools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from satseg.datasets.demo_houses import Houses
from satseg.datasets.demo_plan import Barrier, Box, Cover, Edges, Ground, Grove, Points, Town, rectangle


class Site:
    """A town under construction, in street coordinates; `groves` collects what is planted afterwards."""

    def __init__(
        self,
        town: Town,
        to_scene: Callable[[Points], Points],
        direction: Callable[[float, float], float],
        random: np.random.Generator,
    ) -> None:
        self._town = town
        self._to_scene = to_scene
        self._direction = direction
        self._random = random
        self.houses = Houses(random)
        self.groves: list[Grove] = []

    def _drive(self, u: float, street: float, length: float, cover: Cover) -> None:
        low, high = ordered(street, street + length)
        self._ground((u - 1.5, u + 1.5, low, high), cover if cover != "natural" else "gravel", 0.1)
        if self._random.random() < 0.6:
            self._car(u, street + length * 0.45, along_u=False)

    def _garden(self, edges: Edges) -> None:
        random = self._random
        u0, u1, v0, v1 = edges
        if v1 - v0 < 3 or u1 - u0 < 4:
            return
        self.groves.append((self._outline(edges), 1.1, (1.6, 4.6)))
        for a, b in ((u0, u0 + 1.2), (u1 - 1.2, u1)):  # bushes along the fence
            self.groves.append((self._outline((a, b, v0, v1)), 9.0, (0.6, 1.4)))
        choice = random.random()
        x, y, angle = self._at(random.uniform(u0 + 2, u1 - 2), (v0 + v1) / 2)
        if choice < 0.28:
            self._town.grounds.append(
                Ground(rectangle(x, y, 2.4, min(3.0, (v1 - v0) / 2.4), angle), "beds", 0.6, angle)
            )
        elif choice < 0.36:
            self._town.boxes.append(Box(x, y, 7.0, 3.4, 0.05, angle, "pool", 0))
        elif choice < 0.48:
            self._town.grounds.append(Ground(rectangle(x, y, 2.6, 1.8, angle), self._pick_yard()))
        elif choice < 0.66:
            self._litter_boxes(u0, u1, v0, v1)

    def _fence(self, u0: float, u1: float, v0: float, v1: float, front: int) -> None:
        street, back = (v0, v1) if front > 0 else (v1, v0)
        gate = self._random.uniform(0.25, 0.6)
        kind: Literal["wall", "hedge"] = "wall" if self._random.random() < 0.6 else "hedge"
        corners = [(u0 + (u1 - u0) * gate, street), (u0, street), (u0, back), (u1, back)]
        if self._random.random() < 0.5:
            corners.append((u1, street))
        self._town.barriers.append(Barrier(self._to_scene(dense(corners)), kind))

    def _parking(self, u0: float, u1: float, v: float) -> None:
        for u in np.arange(u0, u1 - 2.5, 2.6):
            self._town.bays.append(self._to_scene(np.array([[u, v - 2.4], [u, v + 2.4]])))
            chance = self._random.random()
            if chance < 0.52:
                self._car(float(u) + 1.3, v, along_u=False)

    def _car(self, u: float, v: float, along_u: bool) -> None:
        x, y, angle = self._at(u, v)
        self._town.boxes.append(make_car(self._random, x, y, angle if along_u else angle + math.pi / 2))

    def _litter_boxes(self, u0: float, u1: float, v0: float, v1: float) -> None:
        random = self._random
        kind = random.choice(["tank", "crate", "tarpaulin"], p=[0.3, 0.45, 0.25])
        size = {"tank": (1.5, 1.5, 1.8), "crate": (2.2, 1.2, 0.9), "tarpaulin": (3.2, 2.2, 0.3)}[str(kind)]
        x, y, angle = self._at(random.uniform(u0 + 1, u1 - 1), random.uniform(v0 + 1, v1 - 1))
        self._town.boxes.append(Box(x, y, *size, angle + random.normal(0, 0.5), kind, int(random.integers(8))))

    def _lots(
        self, edges: Edges, least: float, most: float, deep: float = 26
    ) -> list[tuple[float, float, float, float, int]]:
        """Divide a block into lots (u0, u1, v0, v1, +1 when the street lies at v0 else -1)."""
        u0, u1, v0, v1 = edges
        rows = max(1, min(4, round((v1 - v0) / deep)))
        bounds = np.linspace(v0, v1, rows + 1)
        lots = []
        for row in range(rows):
            count = max(1, int((u1 - u0) / self._random.uniform(least, most)))
            cuts = np.linspace(u0, u1, count + 1)
            cuts[1:-1] += self._random.uniform(-1.5, 1.5, count - 1)
            front = 1 if row < rows / 2 else -1
            lots += [(a, b, bounds[row], bounds[row + 1], front) for a, b in itertools.pairwise(cuts)]
        return lots

    def _pick_yard(self) -> Cover:
        covers: list[Cover] = ["concrete", "brick", "gravel", "natural"]
        return covers[int(self._random.choice(4, p=[0.36, 0.26, 0.18, 0.2]))]

    def _path(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        middle = (
            (start[0] + end[0]) / 2 + self._random.normal(0, 4),
            (start[1] + end[1]) / 2 + self._random.normal(0, 3),
        )
        self._town.paths.append(self._to_scene(dense([start, middle, end])))

    def _ground(self, edges: Edges, cover: Cover, grass: float = 0.5) -> None:
        self._town.grounds.append(Ground(self._outline(edges), cover, float(grass)))

    def _outline(self, edges: Edges) -> Points:
        u0, u1, v0, v1 = edges
        return self._to_scene(dense([(u0, v0), (u1, v0), (u1, v1), (u0, v1), (u0, v0)])[:-1])

    def _at(self, u: float, v: float) -> tuple[float, float, float]:
        x, y = self._to_scene(np.array([[u, v]]))[0]
        return float(x), float(y), self._direction(u, v)


def make_car(random: np.random.Generator, x: float, y: float, angle: float) -> Box:
    """Return a car, now and then a lorry, of random colour."""
    angle += math.pi * random.integers(2) + random.normal(0, 0.03)
    colour = int(random.integers(64))
    if random.random() < 0.06:
        return Box(x, y, random.uniform(7, 9.5), 2.4, 3.0, angle, "lorry", colour)
    return Box(x, y, random.uniform(3.9, 4.8), random.uniform(1.7, 1.9), 1.45, angle, "car", colour)


def ordered(one: float, other: float) -> tuple[float, float]:
    """Return two numbers, the smaller first."""
    return (one, other) if one <= other else (other, one)


def dense(corners: list[tuple[float, float]]) -> Points:
    """Return the line through the corners with a point every few metres, so that it bends with the streets."""
    pieces = [np.linspace(a, b, max(2, int(math.dist(a, b) / 5) + 1))[:-1] for a, b in itertools.pairwise(corners)]
    return np.vstack([*pieces, [corners[-1]]])
