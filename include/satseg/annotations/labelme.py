"""LabelMe JSON: shapes in pixel coordinates of the image they were drawn on."""

import math
from pathlib import Path
from typing import Any

from shapely.geometry import LineString, Point, Polygon, box

from satseg.annotations.labels import Area, LabelFile, Line, RawLabel, class_text
from satseg.errors import BadDataError


def parse_labelme(tree: dict[str, Any], path: Path, lines: bool = False) -> LabelFile:
    """Read the shapes of a LabelMe file: polygons, rectangles and circles, lines where wanted; others are counted.

    Raises:
        BadDataError: the file has not LabelMe's form.
    """
    shapes = tree.get("shapes")
    if not isinstance(shapes, list):
        raise BadDataError(f"{path.name}: 'shapes' is not a list, so this is no LabelMe file; export it again")
    labels: list[RawLabel] = []
    for number, shape in enumerate(shapes):
        try:
            drawn = _drawn(str(shape.get("shape_type") or "polygon"), shape["points"], lines)
            name = class_text(shape.get("label"))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadDataError(
                f"{path.name}: shape {number} cannot be read ({type(error).__name__}: {error}); "
                "open the file in LabelMe and save it again"
            ) from error
        if drawn is not None:
            labels.append(RawLabel(drawn, name))
    return LabelFile(
        path=path,
        kind="LabelMe",
        crs=None,
        crs_stated=False,
        image_size=image_size(tree.get("imageWidth"), tree.get("imageHeight")),
        labels=tuple(labels),
        not_areas=len(shapes) - len(labels),
    )


def _drawn(kind: str, points: list[list[float]], lines: bool) -> Area | Line | None:
    corners = [(float(x), float(y)) for x, y in points]
    if not all(math.isfinite(value) for corner in corners for value in corner):
        raise ValueError("a coordinate is not a finite number")
    if kind == "polygon":
        return Polygon(corners) if len(corners) >= 3 else None
    if kind == "rectangle" and len(corners) == 2:
        (x1, y1), (x2, y2) = corners
        return box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    if kind == "rectangle" and len(corners) == 4:
        return Polygon(corners)
    if kind == "circle" and len(corners) == 2:
        centre, edge = (Point(corner) for corner in corners)
        return centre.buffer(centre.distance(edge))
    if kind in ("line", "linestrip") and lines and len(corners) >= 2:
        return LineString(corners)
    return None


def image_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Return (width, height) where a file says both as whole numbers."""
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
