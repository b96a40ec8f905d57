"""From polygons to class-id masks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize as burn

from satseg.annotations.box_index import BoxIndex
from satseg.annotations.table import AnnotationTable, LabelledPolygon
from satseg.errors import BadDataError

LINES_AT_A_TIME = 1000
POLYGONS_AT_A_TIME = 10_000
_STEPS_PER_PX = 2**20
_NO_POLYGONS = AnnotationTable()


def rasterize(
    polygons: AnnotationTable | Iterable[LabelledPolygon], transform: Affine, height: int, width: int
) -> NDArray[np.uint8]:
    """Burn polygons into a mask: a pixel takes the class of the last polygon that holds its centre.

    Coordinates are brought to pixels and rounded to 2**-20 of one, so that a window gives the same pixels as the whole
    scene also where an edge runs exactly through pixel centres.

    Args:
        polygons: annotations in the coordinates `transform` maps to.
        transform: affine transform of the window (column, row) → coordinates.
        height: rows.
        width: columns.

    Returns:
        (H, W) uint8 class ids, 0 is background.
    """
    drawn = [polygon for polygon in polygons if not polygon.geometry.is_empty]
    if not drawn:
        return np.zeros((height, width), dtype=np.uint8)
    geometries = in_pixels([polygon.geometry for polygon in drawn], transform)
    shapes = zip(geometries, (polygon.class_id for polygon in drawn), strict=True)
    mask: NDArray[np.uint8] = burn(shapes, out_shape=(height, width), fill=0, dtype="uint8")
    return mask


def in_pixels(geometries: Sequence[Any], transform: Affine) -> NDArray[np.object_]:
    """Return geometries in the pixels of a window (x = column, y = row), rounded to 2**-20 of a pixel."""
    a, b, _, d, e, _ = tuple(~transform)[:6]

    def to_pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        # differences to the corner first: the offsets of the inverse are large and would cost digits
        x, y = xy[:, 0] - transform.c, xy[:, 1] - transform.f
        return np.round(np.column_stack([a * x + b * y, d * x + e * y]) * _STEPS_PER_PX) / _STEPS_PER_PX

    found: NDArray[np.object_] = shapely.transform(np.asarray(geometries, dtype=object), to_pixels)
    return found


def window_transform(transform: Affine, row: int, col: int) -> Affine:
    """Return the affine transform of the window that starts at (row, col) of a scene with `transform`."""
    return transform @ Affine.translation(col, row)


class PolygonIndex:
    """Polygons behind a spatial index: rasterising a window touches only those that meet it. Threads may share it.

    Polygons are held as WKB, a quarter of what they take as objects: a scene can have a million.
    """

    def __init__(self, table: AnnotationTable = _NO_POLYGONS) -> None:
        parts = [_Part(np.array([polygon.geometry for polygon in table], dtype=object))] if len(table) else []
        names = {polygon.class_id: polygon.class_name for polygon in table}
        self._fill(parts, [polygon.class_id for polygon in table], names)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the table that `write_table` wrote, line by line, so that memory holds little more than the polygons.

        Raises:
            BadDataError: the file is missing or not such a table.
        """
        parts: list[_Part] = []
        ids: list[int] = []
        names: dict[int, str] = {}
        try:
            for lines in _feature_lines(path):
                parts.append(_Part(shapely.from_geojson(lines)))
                for properties in (json.loads(line)["properties"] for line in lines):
                    ids.append(int(properties["class_id"]))
                    names[ids[-1]] = str(properties["class"])
        except (OSError, ValueError, KeyError, TypeError, shapely.errors.ShapelyError) as error:
            raise BadDataError(f"{path} is not an annotation table ({type(error).__name__}: {error}).") from error
        index = cls()
        index._fill(parts, ids, names)
        return index

    def _fill(self, parts: "list[_Part]", ids: list[int], names: dict[int, str]) -> None:
        self._wkb = b"".join(part.wkb for part in parts)
        self._starts = np.cumsum(np.concatenate([[0], *(part.lengths for part in parts)]), dtype=np.int64)
        self._boxes = BoxIndex(np.concatenate([np.empty((0, 4)), *(part.bounds for part in parts)]))
        self._ids, self._names = np.array(ids, dtype=np.uint8), names

    def __len__(self) -> int:
        return len(self._ids)

    def _geometries(self, numbers: Iterable[int]) -> NDArray[np.object_]:
        pieces = [self._wkb[self._starts[number] : self._starts[number + 1]] for number in numbers]
        geometries: NDArray[np.object_] = shapely.from_wkb(np.array(pieces, dtype=object))
        return geometries

    def parts(self) -> Iterator[tuple[NDArray[np.object_], NDArray[np.uint8]]]:
        """Yield geometries and class ids in drawing order, some at a time."""
        for start in range(0, len(self), POLYGONS_AT_A_TIME):
            end = min(start + POLYGONS_AT_A_TIME, len(self))
            yield self._geometries(range(start, end)), self._ids[start:end]

    def within(self, transform: Affine, height: int, width: int) -> list[LabelledPolygon]:
        """Return the polygons whose bounds meet the window, in drawing order."""
        corners = np.array([transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))])
        found = self._boxes.query(*corners.min(axis=0), *corners.max(axis=0))
        pairs = zip(self._geometries(found.tolist()), self._ids[found].tolist(), strict=True)
        return [LabelledPolygon(geometry, number, self._names[number]) for geometry, number in pairs]

    def rasterize(self, transform: Affine, height: int, width: int) -> NDArray[np.uint8]:
        """Do what `rasterize` does, for a window of (height, width) pixels whose transform is `transform`."""
        return rasterize(self.within(transform, height, width), transform, height, width)


class _Part:
    """Some polygons in little space; the bounds of an empty one meet nothing."""

    def __init__(self, geometries: NDArray[np.object_]) -> None:
        pieces = shapely.to_wkb(geometries).tolist()
        self.wkb = b"".join(pieces)
        self.lengths = [len(piece) for piece in pieces]
        self.bounds: NDArray[np.float64] = np.nan_to_num(shapely.bounds(geometries), nan=np.inf)


def _feature_lines(path: Path) -> Iterator[list[str]]:
    """Yield the features of a table as lines of JSON, some at a time; a table of another layout is read whole."""
    with path.open(encoding="utf-8") as file:
        if not file.readline().rstrip().endswith('"features": ['):
            yield [json.dumps(feature) for feature in json.loads(path.read_text(encoding="utf-8"))["features"]]
            return
        lines = (text for line in file if (text := line.strip().rstrip(",")) and text != "]}")
        while some := list(islice(lines, LINES_AT_A_TIME)):
            yield some
