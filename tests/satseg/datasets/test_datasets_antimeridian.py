"""Scenes across the antimeridian in the catalog, as RFC 7946 and STAC write them."""

from datetime import UTC, datetime

import pytest
from shapely.geometry import box, mapping

from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import _bounds
from satseg.datasets.stac import collection

CROSSING = [179.9, -1.0, -179.9, 1.0]


def item(bbox: list[float]) -> dict:
    when = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    return {"bbox": bbox, "geometry": mapping(box(*bbox)), "properties": {"datetime": when}}


@pytest.mark.parametrize(
    ("boxes", "extent"),
    [
        ([CROSSING], CROSSING),
        ([CROSSING, [-179.95, 0, -179, 2]], [179.9, -1, -179, 2]),
        ([CROSSING, [170, 0, 171, 2]], [170, -1, -179.9, 2]),
        ([CROSSING, [-5, 0, 5, 2]], [-180, -1, 180, 2]),
        ([[10, 0, 11, 1], [-20, 5, -19, 6]], [-20, 0, 11, 6]),
    ],
)
def test_the_extent_of_a_collection(boxes, extent):
    found = collection(ProjectConfig(name="roofs", classes=("building",)), dict(enumerate_items(boxes)))
    assert found["extent"]["spatial"]["bbox"][0] == pytest.approx(extent)


def enumerate_items(boxes):
    return ((f"s{number}", item(bbox)) for number, bbox in enumerate(boxes))


def test_other_rooms_get_bounds_they_can_compare():
    assert _bounds(CROSSING) == pytest.approx((179.9, -1, 180.1, 1))
