"""The scores of a part of the held-out ground: all of it, a scene, a class; numbers with their intervals."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from satseg.config.evaluation import EvaluationConfig
from satseg.evaluation import intervals
from satseg.evaluation.calibration import gaps, mean_error
from satseg.evaluation.intervals import Statistic, block_bootstrap, class_mean
from satseg.evaluation.scores import class_scores, mean_scores
from satseg.evaluation.tally import SIZE_BINS, Tally, touching
from satseg.stages import Interval, Scores

PIXEL_SCORES = ("iou", "dice", "precision", "recall")
DETAILS = ("boundary_iou", "object_precision", "object_recall", "object_f1", "ece")
EVERY = (*PIXEL_SCORES, *DETAILS)


class Part:
    """Some blocks of a tally, with all classes or one of them."""

    def __init__(
        self, tally: Tally, config: EvaluationConfig, blocks: NDArray[np.intp], class_number: int | None = None
    ) -> None:
        self._config, self._class = config, class_number
        classes = slice(None) if class_number is None else slice(class_number, class_number + 1)
        self._matrix = tally.confusion[blocks].sum(axis=0)
        pixels = tally.counts(blocks)[:, classes]
        rims, objects = tally.rims[blocks][:, classes], tally.objects[blocks][:, classes]
        self._neighbours = touching([tally.keys[number] for number in blocks])
        self._sizes = tally.sizes[blocks][:, classes].sum(axis=0)
        self._objects = int(objects[..., intervals.TP].sum() + objects[..., intervals.FN].sum())
        self._measured: dict[str, tuple[NDArray[np.generic], Statistic]] = {
            **{name: (pixels, class_mean(intervals.STATISTICS[name])) for name in PIXEL_SCORES},
            "boundary_iou": (rims, class_mean(intervals.iou)),
            "object_precision": (objects, class_mean(intervals.precision)),
            "object_recall": (objects, class_mean(intervals.recall)),
            "object_f1": (objects, class_mean(intervals.dice)),
            "ece": (gaps(tally.reliability[blocks][:, classes]), mean_error),
        }

    def scores(self, with_intervals: Iterable[str] = EVERY) -> Scores:
        """Return every score, those named with an interval; null is what needs labels where there are none."""
        found = mean_scores(self._matrix) if self._class is None else class_scores(self._matrix, self._class + 1)
        labelled = found.labelled_pixels > 0
        told = EVERY if labelled else ("ece",)
        silent = dict.fromkeys(() if labelled else PIXEL_SCORES)
        return found.model_copy(
            update={
                **silent,
                **{name: self._value(name) if name in told else None for name in DETAILS},
                "objects": self._objects,
                "recall_by_size": self._recall_by_size(),
                "intervals": {name: self._interval(name) for name in with_intervals if name in told},
            }
        )

    def _value(self, name: str) -> float | None:
        counts, statistic = self._measured[name]
        value = float(statistic(np.asarray(counts, np.float64).sum(axis=0, keepdims=True))[0])
        return value if np.isfinite(value) else None

    def _interval(self, name: str) -> Interval:
        config, (counts, statistic) = self._config, self._measured[name]
        return block_bootstrap(
            counts,
            statistic,
            level=config.interval_level,
            repetitions=config.repetitions,
            neighbours=self._neighbours,
        )

    def _recall_by_size(self) -> dict[str, float | None]:
        found = class_mean(intervals.recall)(np.moveaxis(self._sizes, 1, 0).astype(np.float64))
        pairs = zip(SIZE_BINS, found.tolist(), strict=True)
        return {name: value if np.isfinite(value) else None for name, value in pairs}
