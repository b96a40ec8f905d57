"""What a demo town consists of, in metres: x to the east, y to the south, origin at the scene's upper left corner."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon, union_all
from shapely.geometry.base import BaseGeometry

Points = NDArray[np.float64]  # (N, 2): x, y in metres
Edges = tuple[float, float, float, float]  # u0, u1, v0, v1 of a block in street coordinates, metres
Grove = tuple[Points, float, tuple[float, float]]  # outline, trees per 100 m², least and largest crown radius
RoofShape = Literal["gable", "hip", "flat", "shed"]
Cover = Literal["natural", "concrete", "brick", "gravel", "asphalt", "court", "field", "beds", "water"]


@dataclass(frozen=True)
class Wing:
    """A rectangle under one roof; axis a (the ridge) points to `angle`, axis b to the right of it."""

    x: float
    y: float
    half_a: float
    half_b: float
    angle: float
    roof: RoofShape
    eave_m: float
    pitch: float = 0.0

    def corners(self, grow: float = 0.0) -> Points:
        """Return the four corners, optionally of a larger rectangle."""
        a, b = self.half_a + grow, self.half_b + grow
        return rectangle(self.x, self.y, a, b, self.angle)


@dataclass(frozen=True)
class Building:
    """Wings of one house under one roof material."""

    wings: tuple[Wing, ...]
    material: str
    seed: int
    chimneys: int = 0
    skylights: int = 0
    solar: bool = False
    machines: int = 0

    def footprint(self) -> BaseGeometry:
        """Return the roof's outline seen from above."""
        outline = union_all([Polygon(wing.corners()) for wing in self.wings])
        # wings meet within rounding: close hairline gaps
        return outline.buffer(0.01, join_style="mitre").buffer(-0.01, join_style="mitre")


@dataclass(frozen=True)
class Street:
    """A centre line with its widths."""

    line: Points
    width_m: float
    paved: bool
    sidewalk_m: float
    marked: bool


@dataclass(frozen=True)
class Ground:
    """An area of one land cover; `grass` 0..1 says how green a natural one is."""

    outline: Points
    cover: Cover
    grass: float = 0.5
    angle: float = 0.0


@dataclass(frozen=True)
class Barrier:
    """A wall or hedge along a line."""

    line: Points
    kind: Literal["wall", "hedge"]


@dataclass(frozen=True)
class Tree:
    """A crown seen from above; `hue` 0..1 chooses its colour within the season."""

    x: float
    y: float
    radius_m: float
    height_m: float
    crown: int
    hue: float
    conifer: bool = False


@dataclass(frozen=True)
class Box:
    """A small thing with vertical sides: a car, a lorry, a shelter, a water tank."""

    x: float
    y: float
    length_m: float
    width_m: float
    height_m: float
    angle: float
    kind: Literal["car", "lorry", "tank", "pool", "crate", "tarpaulin"]
    colour: int


@dataclass
class Town:
    """Everything in and around a square scene of `side_m` metres."""

    side_m: float
    sun_azimuth: float
    streets: list[Street] = field(default_factory=list)
    grounds: list[Ground] = field(default_factory=list)
    paths: list[Points] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    bays: list[Points] = field(default_factory=list)


def rectangle(x: float, y: float, half_a: float, half_b: float, angle: float) -> Points:
    """Return the corners (4, 2) of a rectangle around (x, y) whose first axis points to `angle` (radians)."""
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    corners: Points = np.array([x, y]) + signs[:, :1] * half_a * along + signs[:, 1:] * half_b * across
    return corners


def offset(x: float, y: float, a: float, b: float, angle: float) -> tuple[float, float]:
    """Return the point `a` metres along `angle` and `b` metres to the right of it."""
    return x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle)
