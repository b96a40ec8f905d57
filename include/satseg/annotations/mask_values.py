"""Which pixel value of a raster mask means which class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satseg.config.data import AnnotationConfig
from satseg.errors import BadDataError, ConfigurationError

BACKGROUND = "background"
_UNKNOWN = 255  # there are at most 254 classes
_VALUES = 2**16
_COLOURS = 2**24
_SHOWN = 8


def check_mask_values(how: AnnotationConfig, classes: tuple[str, ...]) -> None:
    """Check `annotations.mask_values` against the project's classes.

    Raises:
        ConfigurationError: a name is no class, or a value stands for two.
    """
    seen: dict[Any, str] = {}
    for name, values in how.mask_values.items():
        if name not in classes and name != BACKGROUND:
            raise ConfigurationError(
                f"annotations.mask_values: '{name}' is no class of the project; it has {', '.join(classes)} "
                f"(and {BACKGROUND})."
            )
        for value in _listed(values):
            if seen.setdefault(value, name) != name:
                raise ConfigurationError(f"annotations.mask_values: {value} stands for '{seen[value]}' and '{name}'.")


def _listed(values: Any) -> tuple[int | str, ...]:
    found = values if isinstance(values, tuple) else (values,)
    return tuple(value.lower() if isinstance(value, str) else value for value in found)


def colour_code(colour: str) -> int:
    """Return "#rrggbb" as a number."""
    return int(colour[1:], 16)


@dataclass(frozen=True)
class MaskValues:
    """A table from pixel codes (values, or colours as numbers) to class ids; what it lacks is an error."""

    ids: NDArray[np.uint8]
    colours: bool

    def classify(self, codes: NDArray[np.int64], covered: NDArray[np.bool_], name: str, row: int) -> NDArray[np.uint8]:
        """Return the class ids of a strip of codes, 0 where it is not covered.

        Args:
            codes: (H, W) pixel codes.
            covered: (H, W) bool, False at nodata and transparent pixels.
            name: the file, for the error.
            row: row of the strip, for the error.

        Raises:
            BadDataError: a value has no class; the message names the values.
        """
        inside = (codes >= 0) & (codes < len(self.ids))
        found: NDArray[np.uint8] = self.ids[np.where(inside, codes, 0)]
        found[~inside] = _UNKNOWN
        found[~covered] = 0
        wrong = found == _UNKNOWN
        if wrong.any():
            values = np.unique(codes[wrong])
            shown = ", ".join(f"#{v:06x}" if self.colours else str(v) for v in values[:_SHOWN])
            more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            raise BadDataError(
                f"{name}: {int(wrong.sum())} pixels from row {row} on have values without a class: {shown}{more}"
                "; say in the project file which class they are: annotations: {mask_values: {<class>: <value>}} "
                f"('{BACKGROUND}' for none)"
            )
        return found


def mask_values(
    how: AnnotationConfig, classes: tuple[str, ...], colours: bool, palette: Mapping[int, tuple[int, ...]], name: str
) -> MaskValues:
    """Return the table for one mask.

    Without `annotations.mask_values` value k is class k, and 255 is the class too where there is only one (a palette's
    255 is not: there it usually marks borders).

    Args:
        how: says which value is which class.
        classes: the project's classes.
        colours: the mask has three bands of colours.
        palette: colours of a mask with a palette, else empty.
        name: the file, for the error.

    Raises:
        BadDataError: a picture in colours, and no colours are declared.
    """
    ids = np.full(_COLOURS if colours else _VALUES, _UNKNOWN, dtype=np.uint8)
    ids[0] = 0
    if not how.mask_values:
        if colours:
            raise BadDataError(
                f"{name} is a mask in colours; say in the project file which colour is which class: "
                'annotations: {mask_values: {<class>: "#rrggbb"}}, or export a mask with one band'
            )
        ids[1 : len(classes) + 1] = np.arange(1, len(classes) + 1)
        if len(classes) == 1 and not palette:
            ids[255] = 1
        return MaskValues(ids, colours)
    for target, values in how.mask_values.items():
        class_id = 0 if target == BACKGROUND else classes.index(target) + 1
        for value in _listed(values):
            ids[_codes(value, colours, palette)] = class_id
    return MaskValues(ids, colours)


def _codes(value: int | str, colours: bool, palette: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Return the pixel codes a declared value stands for in a mask of this kind."""
    if isinstance(value, int):
        return [] if colours else [value]
    if colours:
        return [colour_code(value)]
    wanted = colour_code(value)
    return [index for index, (r, g, b, *_) in palette.items() if (r << 16 | g << 8 | b) == wanted]
