"""What the champion's encoder sees in each patch, as columns of a profile; TensorFlow is loaded only here."""

from pathlib import Path

import numpy as np
import pandas as pd

from satseg.datasets.catalog import SceneRecord
from satseg.errors import ConfigurationError
from satseg.progress import progress_bar
from satseg.scenes.raster import open_scene

PREFIX = "embedding_"
PIXELS_AT_ONCE = 2**20
_MULTIPLE = 32  # of the patch's side, which the encoder halves five times


def embedding_columns(profile: pd.DataFrame) -> list[str]:
    """Return the names of a profile's embedding columns, in order."""
    return [name for name in profile.columns if name.startswith(PREFIX)]


def with_embeddings(profile: pd.DataFrame, records: dict[str, SceneRecord], model: Path, patch_px: int) -> pd.DataFrame:
    """Return a profile with the pooled encoder output of each patch in further float32 columns.

    Args:
        profile: Rows with checksum, row and col.
        records: Its scenes by checksum.
        model: Folder of the model.
        patch_px: Side of a patch, a multiple of 32.

    Raises:
        ConfigurationError: patches of this size do not fit the encoder.
        BadDataError: a scene or the model cannot be read.
    """
    if patch_px % _MULTIPLE:
        raise ConfigurationError(
            f"drift.patch_px is {patch_px}; with drift.embeddings it must be a multiple of {_MULTIPLE}."
        )
    from satseg.models.keras.embedding import Encoder

    encoder = Encoder(model)
    at_once = max(1, PIXELS_AT_ONCE // patch_px**2)
    found = np.zeros((len(profile), encoder.size), np.float32)
    checksums = profile["checksum"].to_numpy()
    places = profile[["row", "col"]].to_numpy()
    with progress_bar("encoder's view of the patches", len(profile)) as advance:
        for checksum in dict.fromkeys(checksums):
            with open_scene(records[checksum].path) as scene:
                here = np.flatnonzero(checksums == checksum)
                for start in range(0, here.size, at_once):
                    batch = here[start : start + at_once]
                    pixels = [scene.read(int(row), int(col), patch_px, patch_px) for row, col in places[batch]]
                    found[batch] = encoder.embed(np.stack(pixels))
                    advance(batch.size)
    columns = [f"{PREFIX}{place:04d}" for place in range(encoder.size)]
    return pd.concat([profile.reset_index(drop=True), pd.DataFrame(found, columns=columns)], axis=1)
