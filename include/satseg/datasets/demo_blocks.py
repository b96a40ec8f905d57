"""What stands in a block of a demo town: lots with houses, rows, shacks, halls, fields, parks, vacant ground."""

import math
from typing import Literal

import numpy as np

from satseg.datasets.demo_plan import Barrier, Edges, Ground, Points, offset, rectangle
from satseg.datasets.demo_site import Site, dense, ordered


class Builder(Site):
    """Furnishes blocks."""

    def furnish(self, kind: str, edges: Edges) -> None:
        """Fill one block with what its kind says."""
        self.houses.next_block()
        if edges[1] - edges[0] < 8 or edges[3] - edges[2] < 8:
            self._ground(edges, "natural", 0.5)
            return
        kinds = {
            "houses": self._houses,
            "rows": self._rows,
            "shacks": self._shacks,
            "halls": self._halls,
            "green": self._green,
            "field": self._field,
            "vacant": self._vacant,
        }
        kinds[kind](edges)

    # --- kinds of blocks --------------------------------------------------------------------------------------
    def _houses(self, edges: Edges) -> None:
        for u0, u1, v0, v1, front in self._lots(edges, 13, 20):
            self._home(u0, u1, v0, v1, front)

    def _rows(self, edges: Edges) -> None:
        u0, u1, v0, v1 = edges
        self._ground(edges, "natural", 0.55)
        random = self._random
        depth = random.uniform(9, 11)
        for front, side in ((v0 + 3, 1), (v1 - 3, -1)):
            if v1 - v0 < 32 and side < 0:
                break
            u = u0 + random.uniform(1, 5)
            while u + 8 < u1 - 1:
                width = random.uniform(6.5, 9.5)
                if random.random() < 0.14:
                    u += width
                    continue
                x, y, angle = self._at(u + width / 2, front + side * depth / 2)
                self.houses.row_house(x, y, angle, width, depth)
                self._ground((u, u + width, *ordered(front - side * 3, front)), self._pick_yard(), random.random())
                back = ordered(front + side * depth, front + side * (depth + 10))
                self._garden((u, u + width, back[0], back[1]))
                if random.random() < 0.6:
                    kind: Literal["wall", "hedge"] = "hedge" if random.random() < 0.6 else "wall"
                    edge = dense([(u, front + side * depth), (u, front + side * (depth + 11))])
                    self._town.barriers.append(Barrier(self._to_scene(edge), kind))
                u += width + (0 if random.random() < 0.85 else 2.5)

    def _shacks(self, edges: Edges) -> None:
        random = self._random
        self._ground(edges, "natural", 0.3)
        for u0, u1, v0, v1, _ in self._lots(edges, 9, 13, deep=13):
            for attempt in range(3):
                width, depth = random.uniform(4.5, u1 - u0 - 0.5), random.uniform(5, 10.5 - 2 * attempt)
                depth = min(depth, v1 - v0 - 0.5)
                u, v = random.uniform(u0 + width / 2, u1 - width / 2), random.uniform(v0 + depth / 2, v1 - depth / 2)
                x, y, angle = self._at(u, v)
                self.houses.shed(x, y, angle + random.normal(0, 0.09), width, depth)
            for _ in range(random.integers(0, 4)):
                self._litter_boxes(u0, u1, v0, v1)
            if random.random() < 0.3:
                self._town.barriers.append(Barrier(self._to_scene(dense([(u0, v0), (u1, v0)])), "wall"))
        self.groves.append((self._outline(edges), 0.7, (0.8, 3.6)))

    def _halls(self, edges: Edges) -> None:
        u0, u1, v0, v1 = edges
        random = self._random
        self._ground(edges, random.choice(["concrete", "asphalt", "gravel"]))
        width, depth = (u1 - u0) * random.uniform(0.34, 0.46), (v1 - v0) * random.uniform(0.5, 0.66)
        for share in (0.26, 0.75):
            x, y, angle = self._at(u0 + (u1 - u0) * share, v0 + 3 + depth / 2)
            self.houses.hall(x, y, angle, width * random.uniform(0.7, 1), depth * random.uniform(0.7, 1))
        self._parking(u0 + 4, u1 - 4, v1 - 5.6)
        if v1 - v0 > 40:
            self._parking(u0 + 4, u1 - 4, v1 - 12)
        self.groves.append((self._outline((u0, u1, v1 - 2.5, v1)), 1.5, (1.2, 2.4)))

    def _green(self, edges: Edges) -> None:
        u0, u1, v0, v1 = edges
        random = self._random
        self._ground(edges, "natural", 0.88)
        self._path((u0, v0 + 4), (u1, v1 - 4))
        self._path((u0 + (u1 - u0) * random.uniform(0.2, 0.5), v0), (u0 + (u1 - u0) * 0.7, v1))
        x, y, angle = self._at((u0 + u1) / 2 + random.uniform(-8, 8), (v0 + v1) / 2)
        if random.random() < 0.5:
            self._town.grounds.append(Ground(_blob(random, x, y, 7, 11), "water"))
        else:
            court = rectangle(x, y, 11.9, 5.5, angle)
            self._town.grounds.append(Ground(rectangle(x, y, 15, 8, angle), "court"))
            self._town.bays += [np.vstack([court, court[:1]]), *_court_lines(x, y, angle)]
        self.groves.append((self._outline(edges), 2.6, (1.8, 5.2)))

    def _field(self, edges: Edges) -> None:
        u0, u1, v0, v1 = edges
        random = self._random
        self._ground(edges, "natural", 0.5)
        cut = u0 + (u1 - u0) * random.uniform(0.35, 0.65)
        angle = self._direction((u0 + u1) / 2, (v0 + v1) / 2)
        for a, b in ((u0 + 1.5, cut - 1), (cut + 1, u1 - 1.5)):
            turn = angle + (math.pi / 2 if random.random() < 0.4 else 0)
            outline = self._outline((a, b, v0 + 1.5, v1 - 1.5))
            self._town.grounds.append(Ground(outline, "field", float(random.choice([0.15, 0.55, 0.9])), turn))
        x, y, turn = self._at(cut, v0 + 6)
        self.houses.shed(x, y, turn, random.uniform(5, 9), random.uniform(4, 6))
        self.groves.append((self._outline((u0, u1, v0, v0 + 3)), 2.0, (0.7, 2.2)))

    def _vacant(self, edges: Edges) -> None:
        u0, u1, v0, v1 = edges
        random = self._random
        self._ground(edges, "natural", 0.34)
        self._path((u0, v0 + 5), (u1, v1 - 9))
        x, y, angle = self._at(u0 + 14, v1 - 14)
        self._town.grounds.append(Ground(rectangle(x, y, 9, 7, angle), "concrete"))  # the slab of a house to come
        for _ in range(6):
            self._litter_boxes(u0, u1, v0, v1)
        x, y, angle = self._at(u1 - 14, v0 + 12)
        self.houses.dwelling(x, y, angle, random.uniform(10, 14), random.uniform(8, 10))
        self.groves.append((self._outline(edges), 1.2, (0.6, 3.6)))

    def _home(self, u0: float, u1: float, v0: float, v1: float, front: int) -> None:
        """One lot: a house near the street, drive and car, garden behind, often a shed, a wall or hedge."""
        random = self._random
        wide, deep = u1 - u0, v1 - v0
        self._ground((u0, u1, v0, v1), "natural", random.choice([0.88, 0.7, 0.5, 0.3], p=[0.4, 0.25, 0.2, 0.15]))
        width, depth = min(wide - 2.6, random.uniform(9.5, 17)), min(deep * 0.58, random.uniform(8.5, 14))
        setback = random.uniform(3.2, 6)
        across = v0 + setback + depth / 2 if front > 0 else v1 - setback - depth / 2
        middle = u0 + wide / 2 + random.uniform(-0.5, 0.5) * (wide - width - 2.6)
        street = v0 if front > 0 else v1
        yard = self._pick_yard()
        if random.random() < 0.5:  # a paved yard in front or all around
            self._ground((u0 + 0.5, u1 - 0.5, *ordered(street, across + front * depth * 0.6)), yard, 0.2)
        x, y, angle = self._at(middle, across)
        turn = angle if random.random() < 0.8 else angle + random.normal(0, 0.12)
        if random.random() < 0.55:  # a paved strip around the walls
            self._town.grounds.append(Ground(rectangle(x, y, width / 2 + 1.1, depth / 2 + 1.1, turn), yard, 0.2))
        self.houses.dwelling(x, y, turn, width, depth)
        self._drive(u0 + 1.7 if middle > (u0 + u1) / 2 else u1 - 1.7, street, front * (setback + depth * 0.7), yard)
        back = across + front * depth / 2
        self._garden((u0 + 0.6, u1 - 0.6, *ordered(back + front, back + front * max(2.0, deep - setback - depth - 1))))
        if random.random() < 0.62:
            x, y, angle = self._at(random.choice([u0 + 3.2, u1 - 3.2]), (v1 if front > 0 else v0) - front * 3.0)
            self.houses.shed(x, y, angle, random.uniform(3, 5.6), random.uniform(2.6, 4.2))
        if random.random() < 0.75:
            self._fence(u0, u1, v0, v1, front)


def _blob(random: np.random.Generator, x: float, y: float, least: float, most: float) -> Points:
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.full(48, random.uniform(least, most))
    for wave in (2, 3, 5):
        radius += radius.mean() * 0.22 / wave * np.sin(wave * turns + random.uniform(0, 6.28)) * 2
    return np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)


def _court_lines(x: float, y: float, angle: float) -> list[Points]:
    """Return the inner lines of a tennis court."""
    lines = []
    for a0, b0, a1, b1 in (
        (0, -6, 0, 6),
        (-6.4, -4.1, -6.4, 4.1),
        (6.4, -4.1, 6.4, 4.1),
        (-11.9, -4.1, 11.9, -4.1),
        (-11.9, 4.1, 11.9, 4.1),
        (-6.4, 0, 6.4, 0),
    ):
        lines.append(np.array([offset(x, y, a0, b0, angle), offset(x, y, a1, b1, angle)]))
    return lines
