"""The same picture in two splits: windows that are pixel for pixel equal, whatever place their scenes claim."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from satseg.errors import SplitLeakError
from satseg.patches.patchset import image_file

if TYPE_CHECKING:
    import pandas as pd

DIGEST = "digest"  # column in a scene's table of windows
EVERY = 8  # rows of a window in its digest; equal ones are compared in full
SHOWN = 5


def digest_of(image: NDArray[Any]) -> int:
    """Return a number that equal images (H, W, C) have in common, and others hardly ever."""
    sample = np.ascontiguousarray(image[::EVERY]).data
    return int.from_bytes(hashlib.blake2b(sample, digest_size=8).digest(), "little", signed=True)


def check_twins(folder: Path, manifest: "pd.DataFrame") -> None:
    """Check that no picture is in two splits, though its scenes say that they lie elsewhere or nowhere.

    Windows of which a row of pixels repeats, as of water or nodata, prove nothing.

    Args:
        folder: the patch set's, with its shards.
        manifest: windows with the columns digest, shard and index.

    Raises:
        SplitLeakError: listing the pairs.
    """
    kept = manifest[manifest["kept"]].drop_duplicates([DIGEST, "split"])
    several = kept[kept.duplicated(DIGEST, keep=False)]
    pairs = []
    for _, same in several.groupby(DIGEST, sort=False):
        first, *others = same.to_dict("records")
        image = _image(folder, first)
        if len(np.unique(image, axis=0)) == len(image):
            pairs += [
                (first, other) for other in others if np.array_equal(image, _image(folder, other), equal_nan=True)
            ]
    if pairs:
        listed = "; ".join(f"{_name(one)} and {_name(other)}" for one, other in pairs[:SHOWN])
        scenes = sorted({row["scene"] for pair in pairs for row in pair})
        raise SplitLeakError(
            f"{len(pairs)} picture(s) are in two splits: {listed}{'; …' if len(pairs) > SHOWN else ''}. Scenes "
            f"{', '.join(scenes[:SHOWN])} hold the same pixels, but not at the same place: keep one of them, or give "
            "them the right CRS, and ingest again."
        )


def _image(folder: Path, row: dict[Any, Any]) -> NDArray[Any]:
    images = np.load(folder / image_file(int(row["shard"])), mmap_mode="r")
    return np.array(images[int(row["index"])])


def _name(row: dict[Any, Any]) -> str:
    return f"{row['split']} {row['scene']} at row {row['row']}, column {row['col']}"
