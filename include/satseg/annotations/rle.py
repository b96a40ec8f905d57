"""COCO's run-length encoding of masks: lengths of background and foreground in turn, column by column.

The compressed form is that of pycocotools (`rleFrString` in maskApi.c): five bits a character, and from the fourth
number on the difference to the number two before.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_CHARACTER = 48


def decode_runs(counts: Any, pixels: int) -> NDArray[np.int64]:
    """Return the run lengths, which begin with background.

    Args:
        counts: a list of lengths, or compressed text.
        pixels: what they have to sum up to.

    Raises:
        ValueError: not run lengths, or another number of pixels.
    """
    numbers = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number <= pixels for number in numbers):
        raise ValueError("RLE counts are not a list of pixel counts")
    if sum(numbers) != pixels:
        raise ValueError(f"RLE counts sum up to {sum(numbers)} pixels, its size says {pixels}")
    return np.asarray(numbers, dtype=np.int64)


def _decompressed(text: str) -> list[int]:
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        digit = ord(character) - _FIRST_CHARACTER
        if not 0 <= digit < 64:
            raise ValueError(f"RLE counts hold the character {character!r}")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            if shift > 60:
                raise ValueError("RLE counts hold a number without end")
            continue
        if digit & 0x10:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("RLE counts end within a number")
    return numbers


def columns(runs: NDArray[np.int64], height: int, first: int, last: int) -> NDArray[np.uint8]:
    """Return columns `first`..`last` - 1 of a decoded mask as rows: (last - first, height) uint8, 1 is foreground."""
    begin, end = first * height, last * height
    borders = np.clip(np.cumsum(runs), begin, end) - begin
    changes = np.zeros(end - begin + 1, dtype=np.int8)
    starts, ends = borders[0::2], borders[1::2]
    np.add.at(changes, starts[: len(ends)], 1)  # a last run of background starts nothing
    np.add.at(changes, ends, -1)
    found: NDArray[np.uint8] = np.cumsum(changes[:-1], dtype=np.int8).astype(np.uint8).reshape(last - first, height)
    return found
