"""Connected objects of a class map, found strip by strip: one object stays one across strip borders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy.ndimage import label
from shapely.geometry import Polygon, shape


@dataclass
class Component:
    """A 4-connected object of one class, growing while strips touch it."""

    class_id: int
    pieces: list[Polygon] = field(default_factory=list)
    pixels: int = 0
    probability_sum: float = 0.0
    merged_into: "Component | None" = None

    @property
    def confidence(self) -> float:
        """Mean probability of its class over its pixels."""
        return self.probability_sum / self.pixels

    def polygon(self) -> Polygon:
        """Return its outline in pixel coordinates (x = column, y = row), without vertices along straight edges."""
        whole = self.pieces[0] if len(self.pieces) == 1 else shapely.unary_union(self.pieces)
        return shapely.simplify(whole, 0)

    def root(self) -> "Component":
        """Return the component this one became part of, or itself."""
        component = self
        while component.merged_into is not None:
            component = component.merged_into
        return component

    def merge(self, other: "Component") -> None:
        """Take over the pieces and sums of another component."""
        if other is self:
            return
        # the longer list takes the shorter one's pieces: a road through all strips is not copied at each border
        large, small = (self, other) if len(self.pieces) >= len(other.pieces) else (other, self)
        large.pieces += small.pieces
        large.pixels += small.pixels
        large.probability_sum += small.probability_sum
        small.pieces, small.merged_into = [], large


class _Labelled(NamedTuple):
    """Pixels numbered by component; 0 is nothing."""

    labels: NDArray[np.int32]  # (rows, W)
    components: dict[int, Component]


def _without_specks(labels: NDArray[np.int32], pixels: NDArray[np.intp], least: int) -> NDArray[np.int32]:
    """Set components of fewer than `least` pixels to 0, but not those that may go on in another strip."""
    drop = pixels < least
    drop[labels[0]] = False
    drop[labels[-1]] = False
    kept: NDArray[np.int32] = np.where(drop[labels], 0, labels).astype(np.int32)
    return kept


def _label_strip(
    top: int, classes: NDArray[np.uint8], probabilities: NDArray[np.float32], least_pixels: int
) -> _Labelled:
    labels = np.zeros(classes.shape, np.int32)
    components: dict[int, Component] = {}
    for class_id in np.unique(classes[classes > 0]):
        of_class, count = label(classes == class_id)
        pixels = np.bincount(of_class.ravel(), minlength=count + 1)
        of_class = _without_specks(of_class, pixels, least_pixels)
        sums = np.bincount(of_class.ravel(), probabilities[..., class_id - 1].ravel(), minlength=count + 1)
        before = len(components)
        for number in range(1, count + 1):
            components[before + number] = Component(int(class_id), [], int(pixels[number]), float(sums[number]))
        labels[of_class > 0] = of_class[of_class > 0] + before
    for geometry, number in shapes(labels, mask=labels > 0, connectivity=4, transform=Affine.translation(0, top)):
        components[int(number)].pieces.append(shape(geometry))
    return _Labelled(labels, {number: component for number, component in components.items() if component.pieces})


def _join(above: _Labelled, below: _Labelled) -> None:
    """Merge components of one class that meet at the border of two strips."""
    upper, lower = above.labels[-1], below.labels[0]
    meeting = np.unique(np.stack([upper, lower])[:, (upper > 0) & (lower > 0)], axis=1)
    for upper_number, lower_number in meeting.T.tolist():
        one, other = above.components[upper_number], below.components[lower_number]
        if one.class_id == other.class_id:
            one.root().merge(other.root())


def _last_row(strip: _Labelled) -> _Labelled:
    row = strip.labels[-1:]
    return _Labelled(row.copy(), {number: strip.components[number] for number in np.unique(row[row > 0]).tolist()})


def _roots(components: Iterable[Component]) -> dict[int, Component]:
    return {id(root): root for root in (component.root() for component in components)}


def find_components(
    strips: Iterable[tuple[int, NDArray[np.uint8], NDArray[np.float32]]], least_pixels: int = 1
) -> Iterator[Component]:
    """Yield each object when its last row has passed; memory holds one strip and the objects that reach its end.

    Args:
        strips: from top to bottom: first row, class ids (rows, W) with 0 = nothing, and the probability of each class
            (rows, W, N) where band 0 belongs to class 1.
        least_pixels: smaller objects within one strip are left out before their outline is traced.
    """
    border = _Labelled(np.zeros((1, 0), np.int32), {})
    for top, classes, probabilities in strips:
        strip = _label_strip(top, classes, probabilities, least_pixels)
        if border.components:
            _join(border, strip)
        touched = _roots([*border.components.values(), *strip.components.values()])
        border = _last_row(strip)
        growing = _roots(border.components.values())
        yield from (component for key, component in touched.items() if key not in growing)
    yield from _roots(border.components.values()).values()
