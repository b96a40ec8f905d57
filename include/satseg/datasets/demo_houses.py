"""Houses of demo towns: shapes, roofs and materials, placed without overlap."""

import math

import numpy as np
from shapely.geometry.base import BaseGeometry

from satseg.datasets.demo_plan import Building, RoofShape, Wing, offset

# material: how often on pitched dwellings, on sheds and shacks, on flat roofs
_DWELLINGS = {
    "tile": 0.34,
    "brown tile": 0.12,
    "slate": 0.13,
    "red metal": 0.12,
    "grey metal": 0.12,
    "green metal": 0.06,
}
_DWELLINGS |= {"old metal": 0.06, "blue metal": 0.05}
_SHACKS = {"rusty metal": 0.38, "old metal": 0.28, "grey metal": 0.2, "red metal": 0.08, "tile": 0.06}
_FLATS = {"concrete": 0.45, "bitumen": 0.3, "gravel": 0.15, "membrane": 0.1}
_HALLS = {"grey metal": 0.4, "membrane": 0.15, "blue metal": 0.1, "concrete": 0.15, "old metal": 0.2}


class Houses:
    """Makes buildings and remembers where they stand."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.all: list[Building] = []
        self._outlines: list[BaseGeometry] = []

    def add(self, building: Building, gap_m: float = 0.6) -> bool:
        """Keep a building unless it comes nearer than `gap_m` to another one; says whether it was kept."""
        outline = building.footprint()
        room = outline.buffer(gap_m) if gap_m > 0 else outline.buffer(-0.05)
        if any(room.intersects(other) for other in self._outlines):
            return False
        self.all.append(building)
        self._outlines.append(outline)
        return True

    def next_block(self) -> None:
        """Forget the outlines of the block so far: streets lie between blocks."""
        self._outlines.clear()

    def dwelling(self, x: float, y: float, angle: float, width: float, depth: float) -> bool:
        """Place a house of rectangular, L or T shape; `width` along `angle` and `depth` across it, in metres."""
        random = self._random
        shape: RoofShape = random.choice(["gable", "hip", "flat"], p=[0.48, 0.36, 0.16])
        pitch = 0.0 if shape == "flat" else math.tan(math.radians(random.uniform(17, 36)))
        eave = random.choice([2.8, 3.2, 5.6, 6.0], p=[0.4, 0.3, 0.15, 0.15])
        half_a, half_b, turn = _long_axis(width / 2, depth / 2, angle)
        form = random.choice(["rectangle", "L", "T"], p=[0.46, 0.34, 0.2])
        if form == "rectangle" or half_b < 3.2:
            wings: tuple[Wing, ...] = (Wing(x, y, half_a, half_b, turn, shape, eave, pitch),)
        else:
            wings = _with_side_wing(random, Wing(x, y, half_a, half_b, turn, shape, eave, pitch), form)
        return self.add(self._finish(wings, _FLATS if shape == "flat" else _DWELLINGS))

    def shed(self, x: float, y: float, angle: float, width: float, depth: float) -> bool:
        """Place a small outbuilding or shack."""
        random = self._random
        half_a, half_b, turn = _long_axis(width / 2, depth / 2, angle)
        shape: RoofShape = random.choice(["shed", "gable", "flat"], p=[0.5, 0.35, 0.15])
        pitch = 0.0 if shape == "flat" else random.uniform(0.12, 0.4)
        wing = Wing(x, y, half_a, half_b, turn, shape, random.uniform(2.1, 2.8), pitch)
        return self.add(self._finish((wing,), _FLATS if shape == "flat" else _SHACKS), gap_m=0.25)

    def row_house(self, x: float, y: float, angle: float, width: float, depth: float) -> bool:
        """Place one of a row that shares walls with its neighbours: the ridge runs along the street."""
        random = self._random
        flat = random.random() < 0.3
        pitch = 0.0 if flat else math.tan(math.radians(random.uniform(20, 34)))
        wing = Wing(
            x, y, width / 2, depth / 2, angle, "flat" if flat else "gable", random.choice([5.6, 6.2, 8.6]), pitch
        )
        return self.add(self._finish((wing,), _FLATS if flat else _DWELLINGS), gap_m=0)

    def hall(self, x: float, y: float, angle: float, width: float, depth: float) -> bool:
        """Place a large shop, school or workshop with a flat or slightly pitched roof and machines on it."""
        random = self._random
        half_a, half_b, turn = _long_axis(width / 2, depth / 2, angle)
        flat = random.random() < 0.6
        pitch = 0.0 if flat else random.uniform(0.1, 0.22)
        wing = Wing(x, y, half_a, half_b, turn, "flat" if flat else "gable", random.uniform(5, 9), pitch)
        building = self._finish((wing,), _FLATS if flat else _HALLS)
        return self.add(building, gap_m=1.5)

    def _finish(self, wings: tuple[Wing, ...], materials: dict[str, float]) -> Building:
        random = self._random
        weights = np.array(list(materials.values()))
        material = str(random.choice(list(materials), p=weights / weights.sum()))
        area = sum(4 * wing.half_a * wing.half_b for wing in wings)
        flat = wings[0].roof == "flat"
        big = area > 60
        chimneys, skylights = random.integers(0, 3), random.integers(0, 4)
        solar, machines = random.random(), random.integers(1, 2 + int(min(area, 900) / 60))
        return Building(
            wings,
            material,
            seed=int(random.integers(2**31)),
            chimneys=int(chimneys) if big and not flat else 0,
            skylights=int(skylights) if big and not flat else 0,
            solar=bool(solar < 0.07) and big,
            machines=int(machines) if big and flat else 0,
        )


def _long_axis(half_a: float, half_b: float, angle: float) -> tuple[float, float, float]:
    # the ridge runs along the longer side
    return (half_a, half_b, angle) if half_a >= half_b else (half_b, half_a, angle + math.pi / 2)


def _with_side_wing(random: np.random.Generator, main: Wing, form: str) -> tuple[Wing, ...]:
    """Return the main wing made narrower and a lower wing that stands out of its side, at one end (L) or inside (T)."""
    half_b = main.half_b * 0.66
    side = 1 if random.random() < 0.5 else -1
    x, y = offset(main.x, main.y, 0, -side * (main.half_b - half_b), main.angle)
    slim = Wing(x, y, main.half_a, half_b, main.angle, main.roof, main.eave_m, main.pitch)
    half_width = min(random.uniform(0.75, 0.98) * half_b, main.half_a * 0.5)
    reach = 2 * main.half_b - half_b  # from the main ridge to the outer edge of the lot's depth
    room = main.half_a - half_width
    along = room * (random.choice([-1, 1]) if form == "L" else random.uniform(-0.5, 0.5))
    x, y = offset(x, y, along, side * reach / 2, main.angle)
    wing = Wing(x, y, reach / 2, half_width, main.angle + math.pi / 2, main.roof, main.eave_m, main.pitch)
    return (slim, wing)
