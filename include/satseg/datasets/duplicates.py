"""Scenes that come twice: the same file under another name, or the same ground of the same day."""

from dataclasses import dataclass
from typing import Any

from shapely import STRtree
from shapely.geometry import Polygon, shape

Item = dict[str, Any]


@dataclass(frozen=True)
class Duplicate:
    """What a scene shares with others: `overlap` is the part of the smaller of both that `overlaps` covers too."""

    same_file_as: str | None = None
    overlap: float = 0.0
    overlaps: str | None = None


def find_duplicates(new: dict[str, Item], known: dict[str, Item]) -> dict[str, Duplicate]:
    """Return for each new scene the known or earlier new scene that it repeats; scene ids give the order.

    Footprints are compared in longitude and latitude, whose distortion the quotient of areas does not see. Scenes in
    pixel space have none; scenes of different days of acquisition may show the same ground.

    Args:
        new: STAC items of scenes with new pixels.
        known: STAC items of the other scenes.
    """
    others = [*sorted((scene, item) for scene, item in known.items() if scene not in new), *sorted(new.items())]
    first_with: dict[str, str] = {}
    for scene, item in others:
        first_with.setdefault(_source(item), scene)
    grounds = [_ground(item) for _, item in others]
    tree = STRtree(grounds)
    found = {}
    for place, (scene, item) in enumerate(others):
        if scene not in new:
            continue
        first = first_with[_source(item)]
        earlier = [
            (_part(grounds[place], grounds[near]), others[near][0])
            for near in tree.query(grounds[place])
            if near < place and others[near][0] != first and _may_repeat(item, others[near][1])
        ]
        overlap, overlaps = max(earlier, default=(0.0, None))
        found[scene] = Duplicate(first if first != scene else None, overlap, overlaps)
    return found


def _source(item: Item) -> str:
    return str(item["properties"]["satseg:source"]["checksum"])


def _ground(item: Item) -> Polygon:
    return shape(item["geometry"]) if item.get("geometry") else Polygon()


def _part(one: Polygon, other: Polygon) -> float:
    smaller = min(one.area, other.area)
    return float(one.intersection(other).area / smaller) if smaller else 0.0


def _may_repeat(one: Item, other: Item) -> bool:
    days = [_day(one), _day(other)]
    return None in days or days[0] == days[1]


def _day(item: Item) -> str | None:
    properties = item["properties"]
    return properties["datetime"][:10] if properties["satseg:datetime_is"] == "acquisition" else None
