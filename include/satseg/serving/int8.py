"""Find how many operations of an int8 model must stay in float: as few as keep its classes those of the original."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satseg.config.project import ProjectConfig
from satseg.models.interface import Segmenter, class_ids
from satseg.models.litert_engine import LitertSegmenter
from satseg.patches.patchset import PatchSet
from satseg.progress import say
from satseg.serving.calibration import pixels_and_labels, spread
from satseg.serving.parity import counts, mean_iou

STEPS = 8
TRIED_WINDOWS = 48
GROUPS = 6
# nearly what the parity allows, but for groups of a few windows: a test split may be as small
MAX_IOU_DIFFERENCE = 0.004


class Int8Facts(NamedTuple):
    """What a parity report says of an int8 model; zeros for another one."""

    calibration_windows: int = 0
    float_operations: int = 0
    operations: int = 0


class Quantiser(Protocol):
    """See `models.keras.quantise.Int8Quantiser`."""

    @property
    def operations(self) -> int:
        """All of them."""
        ...

    def model(self, in_float: int) -> bytes:
        """Return the file with so many operations left in float."""
        ...


class _Loss(NamedTuple):
    flipped: float  # part of the pixels with another class
    iou: float  # root of the mean squared difference of the IoU over groups of windows

    @property
    def bearable(self) -> bool:
        return self.iou <= MAX_IOU_DIFFERENCE


def _loss(labels: NDArray[np.uint8], wanted: NDArray[np.uint8], ids: NDArray[np.uint8], classes: int) -> _Loss:
    gaps = []
    for group in range(GROUPS):
        part = slice(group, None, GROUPS)
        before, after = (mean_iou(counts(labels[part], found[part], classes)) for found in (wanted, ids))
        gaps.append(after - before)
    return _Loss(float((ids != wanted).mean()), float(np.sqrt(np.mean(np.square(gaps)))))


def int8_files(
    quantiser: Quantiser, target: Path, patch_set: PatchSet, original: Segmenter, project: ProjectConfig
) -> Iterator[int]:
    """Write the int8 model with the fewest float operations that val and train windows bear, then with more and more.

    The caller stops when the parity passes: windows of the test split may bear less than those tried here.

    Args:
        quantiser: of the calibrated network.
        target: model.tflite in a folder with model.json.
        patch_set: whose windows are tried.
        original: the float model.
        project: whose threshold makes classes of probabilities.

    Yields:
        How many operations are left in float in the file that stands at `target` now.
    """
    rows = pd.concat([spread(patch_set.windows(split), TRIED_WINDOWS // 2, 1) for split in ("val", "train")])
    images, labels = pixels_and_labels(patch_set, rows)
    threshold, size = project.inference.threshold, project.inference.batch_size
    wanted = np.concatenate(
        [class_ids(original.predict(images[at : at + size]), threshold) for at in range(0, len(images), size)]
    )
    bearable = False
    for in_float in sorted({quantiser.operations * step // STEPS for step in range(STEPS)}):
        target.write_bytes(quantiser.model(in_float))
        if not bearable:
            ids = class_ids(LitertSegmenter(target.parent).predict(images), threshold)
            found = _loss(labels, wanted, ids, len(patch_set.classes))
            bearable = found.bearable
            say(
                f"int8, {in_float} of {quantiser.operations} operations in float: {found.flipped:.2%} of pixels flip, "
                f"IoU ±{found.iou:.4f}"
            )
        if bearable:
            yield in_float
    if not bearable:
        yield in_float
