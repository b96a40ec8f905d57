"""The list of training negatives that a model takes for something, for `patches.hard_negatives`."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from satseg.annotations.masks import PolygonIndex, window_transform
from satseg.config.project import ProjectConfig
from satseg.datasets.catalog import SceneRecord
from satseg.errors import NotFoundError
from satseg.evaluation.scene_pass import Scenes
from satseg.models.interface import Segmenter, class_ids
from satseg.patches.patchset import PatchSet
from satseg.progress import Advance, progress_bar, say
from satseg.scenes.raster import open_scene
from satseg.storage.atomic import replacing_file

if TYPE_CHECKING:
    import pandas as pd

LIST_FILE = "hard_negatives.csv"
COLUMNS = ("scene", "row", "col", "size", "wrong_fraction")
SAMPLED_OUT = "negative sampling"  # such windows are asked about too: the list brings them back


def write_hard_negatives(
    path: Path, project: ProjectConfig, patch_set: PatchSet, scenes: Scenes, segmenter: Segmenter
) -> int:
    """Predict all training negatives of a patch set and list those found wrongly positive; returns how many.

    Wrongly positive is a window of which the model maps at least `patches.positive_fraction` as a class where nothing
    is labelled: what would make it a positive window. The worst come first.
    """
    table = found_wrong(project, patch_set, scenes, segmenter)
    with replacing_file(path) as temp:
        table.to_csv(temp, index=False)
    return len(table)


def found_wrong(project: ProjectConfig, patch_set: PatchSet, scenes: Scenes, segmenter: Segmenter) -> "pd.DataFrame":
    """Return COLUMNS of the training negatives that are wrongly positive, the worst first."""
    import pandas as pd

    windows = negatives(patch_set)
    rows = []
    with progress_bar("training negatives", len(windows)) as advance:
        for scene, of_scene in windows.groupby("scene"):
            places = of_scene[["row", "col"]].to_numpy(np.int64)
            try:
                record = scenes.find(str(scene))
            except NotFoundError as error:
                say(f"warning: no hard negatives of scene {scene}: {error}")
                continue
            wrong = _wrong_fractions(record, places, project, patch_set.size_px, segmenter, advance)
            rows += [
                (scene, int(row), int(col), patch_set.size_px, round(float(part), 4))
                for (row, col), part in zip(places, wrong, strict=True)
                if part > 0 and part >= project.patches.positive_fraction
            ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["wrong_fraction", "scene", "row", "col"], ascending=[False, True, True, True])


def negatives(patch_set: PatchSet) -> "pd.DataFrame":
    """Return the manifest's rows of training windows that are no positives, also those that sampling left out."""
    table = patch_set.manifest()
    return table[(table["split"] == "train") & ~table["positive"] & table["reason"].isin(["", SAMPLED_OUT])]


def _wrong_fractions(  # noqa: PLR0917 - a scene, its windows, and who looks at them
    record: SceneRecord,
    places: np.ndarray,
    project: ProjectConfig,
    size: int,
    segmenter: Segmenter,
    advance: Advance,
) -> np.ndarray:
    """Return the part of each window (N, 2) that is mapped as a class, has data and is not labelled, (N,)."""
    labels = PolygonIndex.read(record.annotations) if record.annotations else PolygonIndex()
    found = []
    batch_size = project.inference.batch_size
    with open_scene(record.path) as reader:
        for start in range(0, len(places), batch_size):
            batch = [(int(row), int(col)) for row, col in places[start : start + batch_size]]
            images = np.stack([reader.read(row, col, size, size) for row, col in batch])
            mapped = class_ids(segmenter.predict(images), project.inference.threshold) > 0
            for (row, col), positive in zip(batch, mapped, strict=True):
                transform = window_transform(Affine(*record.transform), row, col)
                empty = labels.rasterize(transform, size, size) == 0
                found.append((positive & empty & reader.valid_mask(row, col, size, size)).mean())
            advance(len(batch))
    return np.array(found)
