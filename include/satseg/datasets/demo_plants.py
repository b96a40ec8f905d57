"""Trees, bushes and street cars of demo towns, put where nothing else stands."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from satseg.datasets.demo_plan import Grove, Points, Street, Town, Tree
from satseg.datasets.demo_site import make_car

Room = NDArray[np.float32]  # metres to the nearest thing, on a grid of 0.25 m
_PX_PER_M = 4  # resolution of the map of free ground
_OVERHANG_M = 0.5  # so far a crown may reach over a roof's edge


def plant(town: Town, groves: list[Grove], random: np.random.Generator) -> None:
    """Add cars along the streets and trees to the town: in the groves, and along paved streets."""
    for street in town.streets:
        _park_cars(town, street, random)
    room = _distance_to_things(town)
    for street in town.streets:
        if street.paved and random.random() < 0.7:
            _line_street(town, street, room, random)
    for grove in groves:
        _fill(town, grove, room, random)
    town.trees.sort(key=lambda tree: tree.height_m)


def _distance_to_things(town: Town) -> Room:
    """Return for a grid of 0.25 m the distance in metres to the nearest building, carriageway, car or water."""
    side = math.ceil(town.side_m * _PX_PER_M)
    free = np.full((side, side), 255, np.uint8)
    for building in town.buildings:
        for wing in building.wings:
            cv2.fillPoly(free, [_grid(wing.corners())], 0)
    for box in town.boxes:
        middle = _grid(np.array([[box.x, box.y]]))[0].tolist()
        cv2.circle(free, middle, max(1, int(box.length_m / 2 * _PX_PER_M)), 0, -1)
    for ground in town.grounds:
        if ground.cover in {"water", "court", "field", "beds"}:
            cv2.fillPoly(free, [_grid(ground.outline)], 0)
    for street in town.streets:
        cv2.polylines(free, [_grid(street.line)], False, 0, max(1, int(street.width_m * _PX_PER_M)))
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 3) / _PX_PER_M, dtype=np.float32)


def _grid(points: Points) -> NDArray[np.int32]:
    return np.round(points * _PX_PER_M).astype(np.int32)


def _add(town: Town, spot: tuple[float, float], radius: float, room: Room, random: np.random.Generator) -> None:
    """Add a tree, as large as wished or as the room at the spot allows; none where it would be tiny."""
    row, column = (min(max(int(at * _PX_PER_M), 0), len(room) - 1) for at in (spot[1], spot[0]))
    radius = min(radius, float(room[row, column]) + _OVERHANG_M)
    crown, hue, conifer = int(random.integers(1 << 16)), random.random(), random.random() < 0.14
    stretch = random.uniform(1.3, 2.1)
    if radius >= 0.55:
        height = radius * (stretch + (1.2 if conifer else 0))
        town.trees.append(Tree(*spot, radius * (0.8 if conifer else 1), height, crown, hue, conifer))


def _fill(town: Town, grove: Grove, room: Room, random: np.random.Generator) -> None:
    outline, per_100_m2, radii = grove
    low, high = outline.min(axis=0), outline.max(axis=0)
    count = random.poisson(per_100_m2 * float(np.prod(high - low)) / 100)
    for x, y in random.uniform(low, high, (count, 2)):
        # small ones are more common
        radius = radii[0] + (radii[1] - radii[0]) * random.random() ** 1.6
        if cv2.pointPolygonTest(outline.astype(np.float32), (float(x), float(y)), False) >= 0:
            _add(town, (float(x), float(y)), radius, room, random)


def _line_street(town: Town, street: Street, room: Room, random: np.random.Generator) -> None:
    gap, radius = random.uniform(7, 13), random.uniform(1.5, 3.0)
    for (x, y), angle in _along(street, gap):
        for side in (-1, 1):
            if random.random() < 0.6:
                away = side * (street.width_m / 2 + 1.1)
                spot = (x - away * math.sin(angle), y + away * math.cos(angle))
                _add(town, spot, radius * random.uniform(0.7, 1.2), room, random)


def _park_cars(town: Town, street: Street, random: np.random.Generator) -> None:
    parked = 0.3 if street.paved else 0.08
    for (x, y), angle in _along(street, 6.2):
        for side in (-1, 1):
            # at the kerb, or driving in its lane
            away = side * (street.width_m / 2 - 1.2) if random.random() < parked * 0.6 else None
            if away is None and street.marked and random.random() < 0.05:
                away = side * street.width_m / 4
            if away is not None:
                car = make_car(random, x - away * math.sin(angle), y + away * math.cos(angle), angle)
                town.boxes.append(car)


def _along(street: Street, gap_m: float) -> list[tuple[tuple[float, float], float]]:
    """Return points every `gap_m` metres along a street, off its ends, with the direction there."""
    steps = np.diff(street.line, axis=0)
    lengths = np.concatenate([[0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    spots = []
    for at in np.arange(8, lengths[-1] - 8, gap_m):
        i = min(int(np.searchsorted(lengths, at)), len(steps)) - 1
        share = (at - lengths[i]) / max(lengths[i + 1] - lengths[i], 1e-6)
        x, y = street.line[i] + share * steps[i]
        spots.append(((float(x), float(y)), math.atan2(steps[i][1], steps[i][0])))
    return spots
