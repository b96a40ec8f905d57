"""Connected objects of a class map, found strip by strip: one object stays one across strip borders."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from satseg.inference.outlines import outlines

ClassStrip = tuple[int, NDArray[np.uint8], NDArray[Any]]
Decode = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass
class _Group:
    """Objects that share borders; `done` are those whose last row has passed."""

    done: "list[Component]" = field(default_factory=list)
    merged_into: "_Group | None" = None

    def root(self) -> "_Group":
        group = self
        while group.merged_into is not None:
            group = group.merged_into
        return group

    def merge(self, other: "_Group") -> None:
        if other is not self:
            large, small = (self, other) if len(self.done) >= len(other.done) else (other, self)
            large.done += small.done
            small.done, small.merged_into = [], large


@dataclass
class Component:
    """A 4-connected object of one class, growing while strips touch it."""

    class_id: int
    pieces: list[Polygon] = field(default_factory=list)
    pixels: int = 0
    probability_sum: float = 0.0
    least_probability: float = 1.0
    merged_into: "Component | None" = None
    group: _Group = field(default_factory=_Group)

    @property
    def confidence(self) -> float:
        """Mean probability of its class over its pixels."""
        return self.probability_sum / self.pixels

    def polygon(self) -> Polygon:
        """Return its outline in pixel coordinates (x = column, y = row), without vertices along straight edges."""
        if len(self.pieces) == 1:
            return self.pieces[0]  # GDAL sets vertices at corners only
        return shapely.simplify(shapely.unary_union(self.pieces), 0)

    def root(self) -> "Component":
        """Return the component this one became part of, or itself."""
        component = self
        while component.merged_into is not None:
            component = component.merged_into
        return component

    def group_root(self) -> _Group:
        """Return the group it is in by now."""
        return self.root().group.root()

    def merge(self, other: "Component") -> None:
        """Take over the pieces and sums of another component."""
        if other is self:
            return
        # the longer list takes the shorter one's pieces: a road through all strips is not copied at each border
        large, small = (self, other) if len(self.pieces) >= len(other.pieces) else (other, self)
        large.pieces += small.pieces
        large.pixels += small.pixels
        large.probability_sum += small.probability_sum
        large.least_probability = min(large.least_probability, small.least_probability)
        large.group_root().merge(small.group_root())
        small.pieces, small.merged_into = [], large


class _Labelled(NamedTuple):
    """Pixels numbered by component; 0 is nothing."""

    labels: NDArray[np.int32]  # (rows, W)
    components: dict[int, Component]


class _Probability(NamedTuple):
    """The probability of one class as it is stored; only that of objects is wanted as a number."""

    stored: NDArray[Any]  # (rows, W)
    decode: Decode


def _label_class(
    of_class: NDArray[np.uint8], probability: _Probability, least: int, before: int
) -> tuple[NDArray[np.int32], list[tuple[int, float, float]]]:
    """Number the objects of one class from `before` + 1 on; returns pixels, sum and least probability of each.

    Objects of fewer than `least` pixels are left out, but not those that may go on in another strip.

    Args:
        of_class: (rows + 2, W + 2), 1 for pixels of the class; the border is 0.
        probability: of that class.
        least: pixels.
        before: largest number given so far.
    """
    count, found = cv2.connectedComponents(of_class, connectivity=4, ltype=cv2.CV_32S)
    flat = of_class.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = ends[1::2] - ends[::2]  # of runs: consecutive pixels of a row
    of_run = found.ravel()[ends[1::2]]
    pixels = np.bincount(of_run, lengths, minlength=count)
    keep = pixels >= least
    keep[found[1]] = keep[found[-2]] = True
    keep[0] = False
    values = probability.decode(probability.stored[of_class[1:-1, 1:-1].view(bool)])
    first = np.cumsum(lengths) - lengths
    sums = np.bincount(of_run, np.add.reduceat(values, first, dtype=np.float64), minlength=count)
    lows = np.ones(count, np.float32)
    np.minimum.at(lows, of_run, np.minimum.reduceat(values, first))
    labels = np.where(keep, np.cumsum(keep) + before, 0).astype(np.int32)[found]
    measured = zip(pixels[keep].astype(int).tolist(), sums[keep].tolist(), lows[keep].tolist(), strict=True)
    return labels, list(measured)


def _label_strip(
    top: int, classes: NDArray[np.uint8], probabilities: NDArray[Any], least_pixels: int, decode: Decode
) -> _Labelled:
    rows, width = classes.shape
    padded: NDArray[np.int32] = np.zeros((rows + 2, width + 2), np.int32)
    components: dict[int, Component] = {}
    for class_id in range(1, int(classes.max()) + 1):
        of_class = np.zeros(padded.shape, np.uint8)
        np.equal(classes, class_id, out=of_class[1:-1, 1:-1].view(bool))
        if not of_class.any():
            continue
        probability = _Probability(probabilities[..., class_id - 1], decode)
        labels, measured = _label_class(of_class, probability, least_pixels, len(components))
        padded = labels if not components else padded + labels
        for pixels, total, least in measured:
            components[len(components) + 1] = Component(class_id, [], pixels, total, least)
    if components:
        for number, outline in enumerate(outlines(padded, top), start=1):
            components[number].pieces.append(outline)
    return _Labelled(padded[1:-1, 1:-1], components)


def _pairs(one: NDArray[np.int32], other: NDArray[np.int32], same: bool = False) -> list[list[int]]:
    """Return the pairs of (different) numbers that stand at the same place, each once."""
    meet = (one > 0) & (other > 0) & (same | (one != other))
    # two numbers in one: sorting rows takes ten times as long
    both = np.unique(one[meet].astype(np.int64) << 32 | other[meet])
    pairs: list[list[int]] = np.stack([both >> 32, both & 0xFFFFFFFF], axis=1).tolist()
    return pairs


def _join(above: _Labelled, below: _Labelled, grouped: bool) -> None:
    """Merge components of one class that meet at the border of two strips; others become one group."""
    upper, lower = above.labels[-1], below.labels[0]
    for upper_number, lower_number in _pairs(upper, lower, same=True):
        one, other = above.components[upper_number].root(), below.components[lower_number].root()
        if one.class_id == other.class_id:
            one.merge(other)
        elif grouped:
            one.group_root().merge(other.group_root())
    if grouped:
        for one_row, other_row in ((upper[:-1], lower[1:]), (upper[1:], lower[:-1])):
            for upper_number, lower_number in _pairs(one_row, other_row, same=True):
                above.components[upper_number].group_root().merge(below.components[lower_number].group_root())


def _group(strip: _Labelled) -> None:
    """Put components that share a border or a corner within a strip into one group."""
    labels = strip.labels
    down, right = (labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])
    corners = (labels[:-1, :-1], labels[1:, 1:]), (labels[:-1, 1:], labels[1:, :-1])
    for one_side, other_side in (down, right, *corners):
        for one, other in _pairs(one_side, other_side):
            strip.components[one].group_root().merge(strip.components[other].group_root())


def _last_row(strip: _Labelled) -> _Labelled:
    row = strip.labels[-1:]
    return _Labelled(row.copy(), {number: strip.components[number] for number in np.unique(row[row > 0]).tolist()})


def _roots(components: Iterable[Component]) -> dict[int, Component]:
    return {id(root): root for root in (component.root() for component in components)}


def _as_they_are(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    return probabilities


def find_groups(
    strips: Iterable[ClassStrip], least_pixels: int = 1, grouped: bool = True, decode: Decode = _as_they_are
) -> Iterator[list[Component]]:
    """Yield objects that share borders together, when the last row of all of them has passed.

    Memory holds one strip and the groups that reach its end. Where every pixel has a class that is the whole map.

    Args:
        strips: from top to bottom: first row, class ids (rows, W) with 0 = nothing, and the probability of each class
            (rows, W, N) where band 0 belongs to class 1.
        least_pixels: smaller objects are left out, most of them before their outline is traced.
        grouped: False yields each object by itself, as soon as its own last row has passed.
        decode: turns probabilities of the strips into numbers of 0..1.
    """
    border = _Labelled(np.zeros((1, 0), np.int32), {})
    for top, classes, probabilities in strips:
        strip = _label_strip(top, classes, probabilities, least_pixels, decode)
        if grouped:
            _group(strip)
        if border.components:
            _join(border, strip, grouped)
        touched = _roots([*border.components.values(), *strip.components.values()])
        border = _last_row(strip)
        yield from _complete(touched, _roots(border.components.values()), least_pixels)
    last = _roots(border.components.values())
    yield from _complete(last, {}, least_pixels)


def _complete(
    touched: dict[int, Component], growing: dict[int, Component], least_pixels: int
) -> Iterator[list[Component]]:
    """Yield the groups none of whose components is growing, without components that stayed small."""
    for key, component in touched.items():
        if key not in growing and component.pixels >= least_pixels:
            component.group_root().done.append(component)
    open_groups = {id(component.group_root()) for component in growing.values()}
    groups = {id(component.group_root()): component.group_root() for component in touched.values()}
    for key, group in groups.items():
        if key not in open_groups and group.done:
            # a component knows its group: while the group knew it too, neither would be freed before Python looks for
            # such rings, which in a map of many gigapixels is too late
            done, group.done = group.done, []
            yield done


def find_components(strips: Iterable[ClassStrip], least_pixels: int = 1) -> Iterator[Component]:
    """Yield each object when its last row has passed; see `find_groups`."""
    for group in find_groups(strips, least_pixels, grouped=False):
        yield from group
